import json
import shutil

import numpy as np
import pytest
from drawn_sets import ODD
from hypothesis import given, settings
from hypothesis import strategies as st

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.datasets.annotations.drawn import AnnotationError
from boxpromptiml.datasets.annotations.export_boxes import export_boxes
from boxpromptiml.datasets.annotations.import_boxes import import_boxes
from boxpromptiml.manifests.manifest import read_manifest, write_manifest

OUT = {"coco": "boxes.json", "label_studio": "tasks.json", "yolo": "yolo", "voc": "voc"}
FIELDS = ("image_id", "width", "height", "split", "source", "authentic", "kind")
FOLDERS = st.lists(st.sampled_from(["images", "labels", "train", "x y", "ü#"]), max_size=2)
NAMES = st.builds(
    lambda folders, stem, suffix: "/".join([*folders, stem + suffix]),
    FOLDERS,
    st.sampled_from(["a", "b", "a.b"]),
    st.sampled_from([".jpg", ".png"]),
)
SIDES = st.sampled_from([1, 7, 640, 3999, 4096, 9000, 30_000])


@st.composite
def images(draw):
    """Strategy for manifest entries with every field but the image file; boxes in pixels or thousandths of a pixel."""
    width, height = draw(SIDES), draw(SIDES)

    parts, least = draw(st.sampled_from([(1, 1), (1000, 1000)]))

    def side(length):
        start = draw(st.integers(0, length * parts - least))
        return start / parts, draw(st.integers(start + least, length * parts)) / parts

    corners = [(side(width), side(height)) for _ in range(draw(st.integers(0, 3)))]
    return {
        "width": width,
        "height": height,
        "boxes_xyxy": as_boxes([(x1, y1, x2, y2) for (x1, x2), (y1, y2) in corners]),
        "authentic": not corners,
        "split": draw(st.sampled_from(["train", "val", "test"])),
        "source": draw(st.sampled_from(["", "casia 1"])),
        "kind": draw(st.sampled_from([None, "splice"])),
    }


def test_yolo_refuses_images_with_the_same_label_file(tmp_path):
    """Ultralytics replaces the last folder ``images``, so ``labels/images/a.jpg`` gets the label file of
    ``labels/a.jpg``, which is exported as ``images/labels/a.jpg``."""
    names = ("labels/a.jpg", "labels/images/a.jpg", "a.jpg")
    records = [
        ImageRecord(number, tmp_path / "set" / name, 90, 80, as_boxes([(9, 9, 70, 60)]), "train", "s")
        for number, name in enumerate(names, start=1)
    ]
    for record in records:
        record.path.parent.mkdir(parents=True, exist_ok=True)
        record.path.touch()
    write_manifest(tmp_path / "set" / "m.json", records)
    with pytest.raises(AnnotationError, match="train/labels/labels/a: two images would get this name; rename one"):
        export_boxes(tmp_path / "set" / "m.json", "yolo", tmp_path / "yolo", prelabels=False)
    assert not (tmp_path / "yolo").exists()


@pytest.mark.parametrize("format", OUT)
@given(described=st.dictionaries(NAMES, images(), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_round_trip_loses_nothing(tmp_path_factory, format, described):
    """A manifest holds thousandths of a pixel. Every format writes more digits, so coordinates are recovered exactly in
    images of up to 4,096 pixels a side. Above, float32 cannot always resolve a thousandth of a pixel, and ``x + width``
    may differ by one float32 step."""
    folder = tmp_path_factory.mktemp("round")
    records = []
    for image_id, (name, values) in enumerate(described.items(), start=5):
        path = folder / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        mask = folder / "set" / "masks" / f"{image_id}.png" if image_id % 2 else None
        records.append(ImageRecord(image_id=image_id, path=path, mask_path=mask, **values))
    records.append(ImageRecord(99, folder / "set" / "one more.jpg", 90, 80, as_boxes([(9, 9, 70, 60)]), "test", "s"))
    records[-1].path.touch()
    write_manifest(folder / "set" / "before.json", records)
    before = read_manifest(folder / "set" / "before.json").records
    out = folder / OUT[format]
    try:
        assert export_boxes(folder / "set" / "before.json", format, out, prelabels=False) == 0
    except AnnotationError as error:  # two files that differ only in suffix or split
        if format not in ("yolo", "voc") or out.exists() or "would get this name" not in str(error):
            raise
        return
    assert import_boxes(format, out, folder / "after.json", into=folder / "set" / "before.json") == 0
    after = read_manifest(folder / "after.json").records
    for new, old in zip(after, before, strict=True):
        side = max(old.width, old.height)
        tolerance = 0 if side <= 4096 else 2 * np.spacing(np.float32(side))
        np.testing.assert_allclose(new.boxes_xyxy, old.boxes_xyxy, rtol=0, atol=tolerance)
        assert new.path.resolve() == old.path.resolve()
        assert (new.mask_path and new.mask_path.resolve()) == (old.mask_path and old.mask_path.resolve())
        assert [getattr(new, name) for name in FIELDS] == [getattr(old, name) for name in FIELDS]
    shutil.rmtree(folder)


@pytest.fixture
def manifest(tmp_path, pictured):
    root = pictured(tmp_path / "my set", "images/a.jpg", "images/b.png", "au/a.jpg", "masks/a.png")
    records = [
        ImageRecord(
            7, root / "images" / "a.jpg", 100, 80, as_boxes([(1, 2, 30.125, 40)]), "val", "s",
            root / "masks" / "a.png", kind="splice",
        ),
        ImageRecord(3, root / "images" / "b.png", 100, 80, as_boxes([(0, 0, 100, 80), (1, 1, 5, 5)]), "train", "s"),
        ImageRecord(9, root / "au" / "a.jpg", 100, 80, as_boxes([]), "test", "s", authentic=True),
    ]  # fmt: skip
    write_manifest(root / "manifest.json", records)
    return root / "manifest.json"


@pytest.mark.parametrize("format", OUT)
def test_exports_can_be_read_without_the_manifest(tmp_path, manifest, format):
    """Fields that the format lacks are then lost: ids, sources, masks and kinds, and the splits in Label Studio."""
    assert export_boxes(manifest, format, tmp_path / OUT[format], prelabels=False, copy_images=True) == 0
    pictures = None if format in ("yolo", "voc") else manifest.parent
    out = tmp_path / "after.json"
    assert import_boxes(format, tmp_path / OUT[format], out, images=pictures, unboxed="authentic") == 0
    old = {record.boxes_xyxy.tobytes(): record for record in read_manifest(manifest).records}
    for new in read_manifest(out).records:
        was = old.pop(new.boxes_xyxy.tobytes())
        assert (new.width, new.height, new.authentic) == (was.width, was.height, was.authentic)
        assert new.split == ("train" if format == "label_studio" else was.split)
        if format == "coco":
            assert [getattr(new, name) for name in FIELDS] == [getattr(was, name) for name in FIELDS]
            assert (new.mask_path and new.mask_path.resolve()) == was.mask_path
    assert not old


def test_boxes_corrected_in_label_studio_come_back(tmp_path, manifest):
    tasks = tmp_path / "tasks.json"
    assert export_boxes(manifest, "label_studio", tasks) == 0
    exported = json.loads(tasks.read_text())
    assert exported[0]["data"]["image"] == "/data/local-files/?d=my%20set/images/a.jpg"
    for number, task in enumerate(exported):  # the annotator accepts the first, moves the second, skips the third
        result = task.pop("predictions")[0]["result"]
        task |= {"id": number, "annotations": [{"result": result, "was_cancelled": number == 2}]}
    del exported[1]["annotations"][0]["result"][1]
    exported[1]["annotations"][0]["result"][0]["value"] |= {"x": 50, "y": 25, "width": 10, "height": 5}
    tasks.write_text(json.dumps(exported))
    assert import_boxes("label_studio", tasks, tmp_path / "after.json", into=manifest) == 3
    after = read_manifest(tmp_path / "after.json").records
    assert [record.boxes_xyxy.tolist() for record in after] == [[[1, 2, 30.125, 40]], [[50, 20, 60, 24]]]


def test_the_start_command_of_label_studio_is_printed(tmp_path, manifest, capsys):
    export_boxes(manifest, "label_studio", tmp_path / "tasks.json", label='a "b"')
    output = capsys.readouterr().out
    assert "<Label value='a \"b\"'/>" in output
    assert f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={manifest.parent.parent} and add {manifest.parent}" in output
    export_boxes(manifest, "label_studio", tmp_path / "tasks.json", image_address="https://host/", overwrite=True)
    assert "DOCUMENT_ROOT" not in capsys.readouterr().out
    assert json.loads((tmp_path / "tasks.json").read_text())[2]["data"]["image"] == "https://host/au/a.jpg"


def test_images_that_cannot_be_exported_are_reported(tmp_path, manifest, capsys):
    with pytest.raises(InputError, match=r"such as boxes\.json"):
        export_boxes(manifest, "coco", tmp_path / "boxes")
    with pytest.raises(InputError, match="nor an earlier export"):
        export_boxes(manifest, "yolo", manifest.parent)
    (manifest.parent / "images" / "b.png").unlink()
    assert export_boxes(manifest, "voc", tmp_path / "voc") == 3
    output = capsys.readouterr().out
    assert "skipped: " in output
    assert "b.png: no such file" in output
    assert "2 images, 1 skipped" in output
    content = json.loads(manifest.read_text())
    content["annotations"] = []
    manifest.write_text(json.dumps(content))
    assert export_boxes(manifest, "coco", tmp_path / "boxes.json") == 3
    assert [image["id"] for image in json.loads((tmp_path / "boxes.json").read_text())["images"]] == [9]
    manifest.write_text(json.dumps(content | {"images": []}))
    with pytest.raises(InputError, match="no usable image"):
        export_boxes(manifest, "coco", tmp_path / "boxes.json")


@pytest.mark.parametrize("format", OUT)
def test_every_written_name_is_read_back(tmp_path, pictured, format):
    """Each photo has a different box, so a mix-up of names would show."""
    root = pictured(tmp_path / "set", *ODD)
    records = [
        ImageRecord(i, root / name, 100, 80, as_boxes([(i, i, i + 30, i + 20)]), "val", "s")
        for i, name in enumerate(ODD, start=1)
    ]
    own = {name: i for i, name in enumerate(ODD, start=1)}
    write_manifest(root / "before.json", records)
    assert read_manifest(root / "before.json").set_aside == []
    assert export_boxes(root / "before.json", format, tmp_path / OUT[format], prelabels=False) == 0
    for more in ({"into": root / "before.json"}, {} if format in ("yolo", "voc") else {"images": root}):
        assert import_boxes(format, tmp_path / OUT[format], tmp_path / "after.json", overwrite=True, **more) == 0
        after = {record.path.name: record for record in read_manifest(tmp_path / "after.json").records}
        assert {name: record.boxes_xyxy[0, 0] for name, record in after.items()} == own
        kept = "into" in more or format != "label_studio"
        assert {record.split for record in after.values()} == {"val" if kept else "train"}
