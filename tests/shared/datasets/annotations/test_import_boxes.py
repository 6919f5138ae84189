import json

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.cli import main
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.datasets.annotations.import_boxes import import_boxes
from boxpromptiml.manifests.manifest import read_manifest, write_manifest


def coco(path, images, boxes=(), **more):
    """Write a COCO file from image names (100 × 80 pixels by default) and (name, box, label) tuples."""
    ids = {name: i for i, name in enumerate(images, start=1)}
    labels = sorted({label for _, _, label in boxes})
    path.write_text(
        json.dumps(
            {
                "images": [
                    {"id": ids[name], "file_name": name, "width": 100, "height": 80} | extra
                    for name, extra in images.items()
                ],
                "annotations": [
                    {"id": i, "image_id": ids[name], "bbox": box, "category_id": labels.index(label)}
                    for i, (name, box, label) in enumerate(boxes)
                ],
                "categories": [{"id": i, "name": label} for i, label in enumerate(labels)],
            }
            | more
        )
    )
    return path


def imported(annotations, out, capsys, **more):
    """Import and return the exit code, the records by file name, and the lines about skipped images."""
    code = import_boxes("coco", annotations, out, overwrite=True, **more)
    manifest = read_manifest(out)
    assert manifest.set_aside == []
    output = [line.removeprefix("skipped: ") for line in capsys.readouterr().out.splitlines() if "skipped: " in line]
    assert (code == 3) == bool(output)
    return code, {record.path.name: record for record in manifest.records}, output


def test_boxes_become_a_manifest(tmp_path, pictured, capsys):
    pictured(tmp_path / "photos", "x/a.jpg", "b.png")
    boxes = [("a.jpg", [1.5, 2, 30, 40], "forged"), ("b.png", [-10, 70, 50, 50], "forged")]
    path = coco(tmp_path / "boxes.json", {"a.jpg": {}, "b.png": {"width": None}}, boxes)
    more = {"images": tmp_path / "photos", "split": "val", "source": "desk"}
    code, records, _ = imported(path, tmp_path / "lists" / "desk.json", capsys, **more)
    assert code == 0
    assert records["a.jpg"].path.resolve() == tmp_path / "photos" / "x" / "a.jpg"
    assert records["a.jpg"].boxes_xyxy.tolist() == [[1.5, 2, 31.5, 42]]
    assert records["b.png"].boxes_xyxy.tolist() == [[0, 70, 40, 80]]
    for record in records.values():
        assert (record.width, record.height, record.split, record.source) == (100, 80, "val", "desk")
        assert not record.authentic


@pytest.mark.parametrize(
    ("image", "box", "words"),
    [
        ({}, [100, 10, 5, 5], "a box outside the image"),
        ({}, [30, 30, -5, 5], "a reversed box"),
        ({}, [30, 30, 0, 5], "a box without area"),
        ({}, [float("nan"), 30, 1, 5], "not a number"),
        ({}, [1e300, 30, 1, 5], "not a number"),
        ({}, [1, 2, 3], "annotation 0 has a bbox of 3 numbers"),
        ({"width": 90}, [1, 1, 5, 5], "drawn on 90×80 pixels, but the image has 100×80"),
        (
            {"width": 80, "height": 100},
            [1, 1, 5, 5],
            "drawn on 80×100 pixels (swapped, as by a tool that ignores EXIF)",
        ),
        ({"file_name": ""}, [1, 1, 5, 5], "an image has no name"),
        ({"file_name": "gone.jpg"}, [1, 1, 5, 5], "no image with that name"),
        ({"file_name": "good.jpg"}, [1, 1, 5, 5], "2 entries refer to this image"),
        ({"file_name": "cut.jpg"}, [1, 1, 5, 5], "the file is empty"),
        ({"authentic": True}, [1, 1, 5, 5], "marked authentic"),
    ],
)
def test_one_bad_image_is_listed_and_the_others_stay(tmp_path, pictured, capsys, image, box, words):
    pictured(tmp_path, "b.jpg", "good.jpg", "other.jpg")
    (tmp_path / "cut.jpg").touch()
    boxes = [("b.jpg", box, "f"), ("good.jpg", [1, 1, 5, 5], "f"), ("other.jpg", [1, 1, 5, 5], "f")]
    path = coco(tmp_path / "boxes.json", {"b.jpg": image, "good.jpg": {}, "other.jpg": {}}, boxes)
    _, records, output = imported(path, tmp_path / "out.json", capsys)
    assert "other.jpg" in records
    assert len(records) == 3 - len(output)
    assert output[0].startswith(f"{image.get('file_name', 'b.jpg')}: ")
    assert words in output[0]


def test_sizes_are_those_of_the_upright_image(tmp_path, capsys):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.zeros((80, 100, 3), np.uint8)).save(tmp_path / "a.jpg", exif=turned)
    path = coco(tmp_path / "boxes.json", {"a.jpg": {"width": 80, "height": 100}}, [("a.jpg", [1, 90, 5, 9], "f")])
    _, records, output = imported(path, tmp_path / "out.json", capsys)
    assert output == []
    assert (records["a.jpg"].width, records["a.jpg"].height) == (80, 100)


def test_only_the_named_labels_count(tmp_path, pictured, capsys):
    pictured(tmp_path, "a.jpg", "b.jpg")
    boxes = [("a.jpg", [1, 1, 5, 5], "splice"), ("a.jpg", [9, 9, -1, 1], "face"), ("b.jpg", [1, 1, 5, 5], "face")]
    path = coco(tmp_path / "boxes.json", {"a.jpg": {}, "b.jpg": {}}, boxes)
    _, records, output = imported(path, tmp_path / "out.json", capsys, labels=["splice"])
    assert records["a.jpg"].boxes_xyxy.tolist() == [[1, 1, 6, 6]]
    assert [line.split(":")[0] for line in output] == ["b.jpg"]
    with pytest.raises(InputError, match="no box has the label 'slice'; the labels are: face, splice"):
        import_boxes("coco", path, tmp_path / "out.json", labels=["slice"])


def test_an_image_without_a_box_is_what_the_option_says(tmp_path, pictured, capsys):
    pictured(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    path = coco(tmp_path / "boxes.json", {"a.jpg": {}, "b.jpg": {}}, [("a.jpg", [1, 1, 5, 5], "f")])
    _, records, output = imported(path, tmp_path / "out.json", capsys)
    assert (list(records), output[0].split(";")[0]) == (["a.jpg"], "b.jpg: it has no box")
    _, records, output = imported(path, tmp_path / "out.json", capsys, unboxed="authentic")
    assert {name: record.authentic for name, record in records.items()} == {"a.jpg": False, "b.jpg": True}
    assert output == []


@pytest.fixture
def before(tmp_path, pictured):
    """A manifest of four images, one of them authentic, with every possible field."""
    root = pictured(tmp_path / "set", "Tp/a.jpg", "Tp/b.jpg", "Tp/c.jpg", "Au/a.jpg")
    pictured(root, "Gt/a.png")
    rows = as_boxes([(1, 2, 30, 40)])
    records = [
        ImageRecord(7, root / "Tp" / "a.jpg", 100, 80, rows, "val", "s1", root / "Gt" / "a.png", kind="splice"),
        ImageRecord(3, root / "Tp" / "b.jpg", 100, 80, rows, "test", "s2"),
        ImageRecord(4, root / "Tp" / "c.jpg", 100, 80, rows, "train", "s2"),
        ImageRecord(9, root / "Au" / "a.jpg", 100, 80, as_boxes([]), "val", "s1", authentic=True),
    ]
    write_manifest(root / "before.json", records)
    return root / "before.json"


def test_import_into_a_manifest_replaces_only_boxes(tmp_path, before, capsys):
    """No image is opened, since the manifest has the sizes."""
    for image in before.parent.glob("*/*.jpg"):
        image.write_bytes(b"")
    boxes = [("Tp/a.jpg", [50, 50, 10, 10], "f"), ("b.jpg", [0, 0, 9, 9], "f"), ("b.jpg", [20, 0, 9, 9], "f")]
    path = coco(tmp_path / "boxes.json", {"Tp/a.jpg": {}, "b.jpg": {}, "Au/a.jpg": {}}, boxes)
    _, _, output = imported(path, tmp_path / "after.json", capsys, into=before)
    assert output == []
    after = read_manifest(tmp_path / "after.json").records
    old = read_manifest(before).records
    assert [r.boxes_xyxy.tolist() for r in after] == [
        [[50, 50, 60, 60]],
        [[0, 0, 9, 9], [20, 0, 29, 9]],
        [[1, 2, 30, 40]],  # not in the annotations
        [],
    ]
    for new, was in zip(after, old, strict=True):
        assert new.path.resolve() == was.path.resolve()
        assert (new.mask_path is None) == (was.mask_path is None)
        for field in ("image_id", "width", "height", "split", "source", "authentic", "kind"):
            assert getattr(new, field) == getattr(was, field)


def test_import_into_a_manifest_skips_contradictions(tmp_path, before, capsys):
    boxes = [("Au/a.jpg", [1, 1, 5, 5], "f"), ("Tp/a.jpg", [1, 1, 5, 5], "f"), ("new.jpg", [1, 1, 5, 5], "f")]
    names = {"Au/a.jpg": {}, "Tp/a.jpg": {}, "Tp/b.jpg": {}, "Tp/c.jpg": {"width": 50}, "new.jpg": {}}
    path = coco(tmp_path / "boxes.json", names, boxes)
    _, records, output = imported(path, tmp_path / "after.json", capsys, into=before)
    assert [line.split(";")[0] for line in output] == [
        f"Au/a.jpg: it has a box but is marked authentic in {before}",
        "Tp/b.jpg: it has no box any more",
        "Tp/c.jpg: its boxes were drawn on 50×80 pixels, but the image has 100×80",
        f"new.jpg: no image with that name in {before.parent}",
    ]
    assert list(records) == ["a.jpg"]
    _, records, output = imported(path, tmp_path / "after.json", capsys, into=before, unboxed="authentic")
    assert records["b.jpg"].authentic
    assert len(output) == 3


def test_conflicting_arguments_are_refused(tmp_path, before):
    path = coco(tmp_path / "boxes.json", {"Tp/a.jpg": {}}, [("Tp/a.jpg", [1, 1, 5, 5], "f")])
    with pytest.raises(InputError, match="omit --images"):
        import_boxes("coco", path, tmp_path / "out.json", into=before, split="val")
    with pytest.raises(InputError, match="write to another file"):
        import_boxes("coco", path, before, into=before)
    with pytest.raises(InputError, match=r"such as out\.json"):
        import_boxes("coco", path, tmp_path / "out")


def test_a_fraction_of_the_training_images_becomes_validation(tmp_path, pictured):
    names = [f"{folder}/{i}.jpg" for folder in "xy" for i in range(20)]
    pictured(tmp_path, *names)
    images = {name: {"split": "test"} if name == "x/0.jpg" else {} for name in names}
    path = coco(tmp_path / "boxes.json", images, [(name, [1, 1, 5, 5], "f") for name in names])
    assert import_boxes("coco", path, tmp_path / "out.json", val_share=0.3) == 0
    records = read_manifest(tmp_path / "out.json").records
    split_of = {record.path.parent.name + record.path.stem: record.split for record in records}
    assert split_of.pop("x0") == "test"
    assert 4 <= sum(split == "val" for split in split_of.values()) <= 20
    assert all(split_of[f"x{i}"] == split_of[f"y{i}"] for i in range(1, 20))
    with pytest.raises(InputError, match="val_share is 1"):
        import_boxes("coco", path, tmp_path / "out.json", val_share=1)


def test_the_masks_and_splits_of_our_own_coco_files_are_read(tmp_path, pictured, capsys):
    pictured(tmp_path, "Tp/a.jpg", "Tp/b.jpg", "Gt/a.png")
    extras = {"split": "test", "source": "casia1", "kind": "splice", "mask_file": "Gt/a.png"}
    images = {"Tp/a.jpg": extras, "Tp/b.jpg": {"mask_file": "../secret.png", "authentic": True}}
    path = coco(tmp_path / "boxes.json", images, [("Tp/a.jpg", [1, 1, 5, 5], "f")])
    _, records, _ = imported(path, tmp_path / "out.json", capsys)
    first, second = records.values()
    assert (first.split, first.source, first.kind) == ("test", "casia1", "splice")
    assert first.mask_path.resolve() == tmp_path / "Gt" / "a.png"
    assert (second.split, second.source, second.mask_path, second.authentic) == ("train", "out", None, True)
    _, records, _ = imported(path, tmp_path / "out.json", capsys, source="mine", split="val")
    assert {(record.source, record.split) for record in records.values()} == {("mine", "val")}


def test_the_exit_code_tells_complete_partial_and_failed_imports_apart(tmp_path, pictured, capsys):
    pictured(tmp_path, "a.jpg", "b.jpg")
    boxes = [("a.jpg", [1, 1, 5, 5], "f"), ("b.jpg", [1, 1, 5, 5], "f")]
    path = coco(tmp_path / "boxes.json", {"a.jpg": {}, "b.jpg": {}}, boxes)
    out = tmp_path / "out.json"
    command = ["import_boxes", "--format", "coco", "--annotations", str(path), "--out", str(out), "--labels", "[f]"]
    assert main(command) == 0
    assert "2 images, 2 boxes, 0 authentic, 0 skipped" in capsys.readouterr().out
    whole = out.read_bytes()
    (tmp_path / "b.jpg").unlink()
    assert main([*command, "--overwrite", "true"]) == 3
    out.write_bytes(whole)
    (tmp_path / "a.jpg").unlink()
    assert main(command) == 2
    assert "none of its 2 annotated images can be used" in capsys.readouterr().err
    path.write_text('{"images": [],\n"annotations": [}')
    assert main(command) == 2
    output = capsys.readouterr().err.splitlines()
    assert len(output) == 1
    assert "line 2 column 17" in output[0]
    assert out.read_bytes() == whole
