import os

import pytest
import yaml

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.annotations.drawn import AnnotationError
from boxpromptiml.datasets.annotations.yolo import read, write

COCO8 = """# COCO8 dataset (first 8 images from COCO train2017) by Ultralytics
path: {path} # dataset root dir
train: images/train # train images (relative to 'path') 4 images
val: images/val # val images (relative to 'path') 4 images
test: # test images (optional)

# Classes
names:
  0: person
  1: bicycle
"""
ROBOFLOW = """train: ../train/images
val: ../valid/images
test: ../test/images

nc: 2
names: ['forged', 'face']

roboflow:
  workspace: someone
  version: 6
  license: MIT
"""


def filled(folder, **texts):
    for name, text in texts.items():
        path = folder / (name if "." in name else f"{name}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def by_name(drawings):
    return {image.names[0]: image for image in drawings.images}


@pytest.mark.parametrize("path", ["coco8", "/content/datasets/coco8", "."])
def test_the_layout_of_ultralytics(tmp_path, pictured, path):
    root = pictured(tmp_path / "coco8", "images/train/a.jpg", "images/train/b.jpg", "images/val/c.jpg", "images/no.jpg")
    filled(root, **{"data.yaml": COCO8.format(path=path), "labels/train/a": "1 0.5 0.5 0.25 0.5\n\n0 .1 .1 .2 .2"})
    filled(root, **{"labels/train/b": "\n", "labels/no": "0 .1 .1 .2 .2"})
    for annotations in (root, root / "data.yaml"):
        images = by_name(read(annotations))
        assert list(images) == ["images/train/a.jpg", "images/train/b.jpg", "images/val/c.jpg"]
        a, b, c = images.values()
        assert [box.labels for box in a.boxes] == [("bicycle",), ("person",)]
        assert a.boxes[0].corners == (0.375, 0.25, 0.625, 0.75)
        assert (a.split, b.split, c.split) == ("train", "train", "val")
        assert (a.authentic, b.authentic, c.authentic) == (False, True, False)  # b: empty label file, c: none
        assert a.shares
        assert a.size is None


def test_the_layout_of_roboflow(tmp_path, pictured):
    root = pictured(tmp_path, "train/images/a.jpg", "valid/images/a.jpg", "test/images/b.jpg")
    filled(root, **{"data.yaml": ROBOFLOW, "README.dataset": "# forgeries", "valid/labels/a": "1 .5 .5 .2 .2"})
    filled(root, **{"train/labels/a": "0 .5 .5 .2 .2", "test/labels/b": ""})
    images = by_name(read(root))
    assert [(name, image.split) for name, image in images.items()] == [
        ("train/images/a.jpg", "train"),
        ("valid/images/a.jpg", "val"),
        ("test/images/b.jpg", "test"),
    ]
    assert images["valid/images/a.jpg"].boxes[0].labels == ("face",)
    assert images["valid/images/a.jpg"].names[1:] == ("images/a.jpg", "a.jpg")


def test_image_lists_even_from_another_machine(tmp_path, pictured):
    root = pictured(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    train = "./images/a.jpg\n/home/anna/set/images/b.jpg\n\ngone/d.jpg\n"
    filled(root, train=train, val="images/a.jpg\nimages/c.jpg")
    filled(root, **{"data.yaml": "train: train.txt\nval: val.txt\n"})
    assert {name: image.split for name, image in by_name(read(root)).items()} == {
        "images/a.jpg": "train",  # takes precedence over val
        "images/b.jpg": "train",
        "gone/d.jpg": "train",
        "images/c.jpg": "val",
    }


def test_folders_without_data_yaml(tmp_path, pictured):
    root = pictured(tmp_path / "split", "images/a.jpg")
    filled(root, **{"labels/a": "1 .5 .5 .2 .2", "classes": "face\nforged\n"})
    (only,) = read(root).images
    assert (only.boxes[0].labels, only.split) == (("forged",), None)
    beside = filled(pictured(tmp_path / "beside", "a.b.jpg"), **{"a.b.txt": "3 .5 .5 .2 .2", "train": "a.b.jpg"})
    (only,) = read(beside).images
    assert (only.names, only.boxes[0].labels) == (("a.b.jpg",), ("3",))


def test_labels_without_their_images_are_kept(tmp_path, pictured):
    root = filled(pictured(tmp_path, "images/a.jpg"), **{"labels/a": "", "labels/x/b": "0 .5 .5 .2 .2"})
    images = by_name(read(root))
    assert list(images) == ["images/a.jpg", "images/x/b.*"]
    assert images["images/x/b.*"].boxes[0].corners == pytest.approx((0.4, 0.4, 0.6, 0.6))
    assert [image.names[0] for image in read(root / "labels").images] == ["a.*", "x/b.*"]


@pytest.mark.parametrize(
    ("line", "corners"),
    [
        ("0 0.1 0.2 0.5 0.2 0.5 0.9", (0.1, 0.2, 0.5, 0.9)),
        ("0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5", (0.1, 0.1, 0.9, 0.9)),
        ("0 0.5 0.5 1.005 0.5", (-0.0025, 0.25, 1.0025, 0.75)),
        ("0 120 80 40 40", "a.txt line 2: 120 is not a share of the image"),
        ("0 nan 0.5 0.1 0.1", "a.txt line 2: nan is not a share of the image"),
        ("0 -0.5 0.5 0.1 0.1", "-0.5 is not a share"),
        ("0 0.5 0.5 0.1", "a.txt line 2: 4 numbers; a box has 5"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 numbers"),
        ("0", "1 numbers"),
        ("0 0.5 0,5 0.1 0.1", "a.txt line 2: could not convert string to float: '0,5'"),
        ("forged 0.5 0.5 0.1 0.1", "line 2: could not convert"),
    ],
)
def test_boxes_polygons_oriented_boxes_and_broken_lines(tmp_path, pictured, line, corners):
    root = filled(pictured(tmp_path, "a.jpg"), **{"a": f"0 0.5 0.5 0.1 0.1\n{line}\n"})
    (only,) = read(root).images
    if isinstance(corners, str):
        assert corners in only.boxes[1].corners
    else:
        assert only.boxes[1].corners == pytest.approx(corners)


def test_a_binary_label_file_costs_one_image(tmp_path, pictured):
    root = filled(pictured(tmp_path, "a.jpg", "b.jpg"), **{"b": "0 .5 .5 .2 .2"})
    (root / "a.txt").write_bytes(b"0 0.5\xff")
    broken, good = read(root).images
    assert "not UTF-8 text" in broken.boxes[0].corners
    assert not broken.authentic
    assert len(good.boxes) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [a\nval: b", "not a YOLO data.yaml"),
        ("train: 5", "`$.train`"),
        ("- train", "not a YOLO data.yaml"),
        ("train: images/gone", "train names images/gone, which does not exist"),
        ("train: ../../elsewhere", "train names ../../elsewhere, which does not exist"),
        ("train: /etc", "train names /etc, which does not exist"),
    ],
)
def test_a_data_yaml_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(AnnotationError) as caught:
        read(filled(tmp_path, **{"data.yaml": text}))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(AnnotationError, match="no such data set"):
        read(tmp_path / "gone")


def test_ultralytics_finds_the_label_of_every_written_image(tmp_path, pictured):
    names = ["images/a.jpg", "x/images/b.png", "au/c.jpg", "d.jpg"]
    root = pictured(tmp_path / "set", *names)
    splits = ["train", "val", "train", "test"]
    records = [
        ImageRecord(i, root / name, 100, 80, as_boxes([(10, 20, 30, 60)] * (i % 2)), split, "s", authentic=not i % 2)
        for i, (name, split) in enumerate(zip(names, splits, strict=True))
    ]
    assert write(tmp_path / "yolo", records, root, "forged: yes", copy_images=False) == []
    described = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert described["names"] == {0: "forged: yes"}
    found = {}
    for split in ("train", "val", "test"):
        for image in (tmp_path / "yolo" / described[split]).rglob("*.*"):
            if image.suffix != ".txt":
                text = f"{os.sep}labels{os.sep}".join(str(image).rsplit(f"{os.sep}images{os.sep}", 1))
                with open(text.rsplit(".", 1)[0] + ".txt") as stream:  # noqa: PTH123 (as Ultralytics does)
                    found[image.resolve().relative_to(root.resolve()).as_posix()] = split, stream.read()
    line = "0 0.200000000 0.500000000 0.200000000 0.500000000\n"
    assert found == {name: (split, line * (i % 2)) for i, (name, split) in enumerate(zip(names, splits, strict=True))}


def test_images_whose_labels_would_collide_are_refused(tmp_path, pictured):
    root = pictured(tmp_path / "set", "images/a.jpg", "a.jpg")
    records = [
        ImageRecord(i, root / name, 100, 80, as_boxes([]), split, "s", authentic=True)
        for i, (name, split) in enumerate([("images/a.jpg", "train"), ("a.jpg", "val")])
    ]
    with pytest.raises(AnnotationError, match="images/a: two images"):
        write(tmp_path / "yolo", records, root, "forged", copy_images=False)
    assert not (tmp_path / "yolo").exists()


def test_two_images_with_one_label_file_are_a_defect(tmp_path, pictured):
    root = filled(pictured(tmp_path, "a.jpg", "a.png", "b.jpg"), a="0 .5 .5 .2 .2", b="0 .5 .5 .2 .2")
    images = by_name(read(root))
    for name in ("a.jpg", "a.png"):
        assert "another image has the same label file, a.txt" in images[name].defect
    assert images["b.jpg"].defect is None
