"""Files from other tools: the command that reads them reads them correctly or refuses them in one line.

These cases were collected after the readers were written, to test them on unforeseen input. Systematic tests of every
command are in `test_masks_in_every_command`, `datasets/annotations/test_kinds` and `test_bad_inputs`.
"""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.cli import main
from boxpromptiml.images import read_record
from boxpromptiml.manifests.manifest import read_manifest

WIDTH, HEIGHT = 100, 80
BOX = [10, 20, 30, 40]
TWO = [{"id": i, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT} for i, name in enumerate("ab", 1)]
UNSIZED = [{"id": image["id"], "file_name": image["file_name"]} for image in TWO]
MARKED = np.zeros((HEIGHT, WIDTH), np.uint8)
MARKED[20:50, 10:50] = 255


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Current folder with two photos in ``images``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for seed, name in enumerate("ab"):
        pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(f"images/{name}.jpg")
    return tmp_path


def refused(words, capsys):
    """Run a command that must fail and return its one-line message."""
    assert main(words) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f"boxpromptiml {words[0]}: ")
    return line


def coco(*boxes, images=TWO, **more):
    annotations = [{"id": i, "image_id": i, "category_id": 1, "bbox": box} for i, box in enumerate(boxes, 1)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "forged"}], **more}


def task(kind, **value):
    """A Label Studio task (JSON) whose region is not a rectangle."""
    region = {"type": kind, "to_name": "image", "original_width": WIDTH, "original_height": HEIGHT, "value": value}
    return [{"id": 1, "data": {"image": "/data/upload/1/a.jpg"}, "annotations": [{"result": [region]}]}]


def row(**value):
    """The same in Label Studio's JSON-MIN format."""
    return [{"id": 1, "image": "/data/upload/1/a.jpg", "label": [value], "annotation_id": 1}]


VIA = {"a.jpg1": {"filename": "a.jpg", "regions": [{"shape_attributes": {"name": "rect", "x": 1, "y": 2}}]}}
LABELME = {"shapes": [{"label": "forged", "points": [[1, 2], [30, 40]]}], "imagePath": "a.jpg", "imageData": None}
BITMASK, VECTOR = {"imageDataURL": "data:image/png;base64,AA=="}, {"vertices": [{"x": 1, "y": 2}]}
VIDEO, ELLIPSE = {"sequence": [{"frame": 1}]}, {"x": 50, "y": 50, "radiusX": 5, "radiusY": 6}
JSON = {
    "VIA": ("coco", VIA, "not COCO: Object missing required field `images`"),
    "labelme": ("coco", LABELME, "not COCO"),
    "a detector's results": ("coco", [{"image_id": 1, "bbox": BOX, "score": 0.9}], "not COCO"),
    "numbers as texts": ("coco", coco(["10", "20", "30", "40"]), "$.annotations[0].bbox[0]"),
    "a box by names": ("coco", coco({"x": 10, "y": 20, "w": 30, "h": 40}), "$.annotations[0].bbox"),
    "image ids with a point": ("coco", coco(images=[{"id": 1.5, "file_name": "a.jpg"}]), "$.images[0].id"),
    "two corners, sizes not given": ("coco", coco([50, 40, 95, 75], [60, 30, 90, 70], images=UNSIZED), "x1 y1 x2 y2"),
    "shares, sizes not given": ("coco", coco([0.1, 0.2, 0.3, 0.4], images=UNSIZED), "between 0 and 1"),
    "boxes without numbers": ("coco", coco([], []), "neither a bbox nor a polygon"),
    "JSON Lines": ("coco", b'{"images": []}\n{"images": []}\n', "not COCO"),
    "compressed": ("coco", gzip.compress(b"{}"), "not COCO"),
    "a comma too many": ("coco", b'{"images": [], "annotations": [],}', "not COCO"),
    "a bitmask": ("label_studio", task("bitmask", **BITMASK, bitmasklabels=["forged"]), "draw a box instead"),
    "a bitmask in JSON-MIN": ("label_studio", row(**BITMASK, bitmasklabels=["forged"]), "draw a box instead"),
    "a path": ("label_studio", task("vectorlabels", **VECTOR, vectorlabels=["forged"]), "draw a box instead"),
    "a path in JSON-MIN": ("label_studio", row(**VECTOR, vectorlabels=["forged"]), "draw a box instead"),
    "a video": ("label_studio", task("videorectangle", **VIDEO, labels=["forged"]), "draw a box instead"),
    "a video in JSON-MIN": ("label_studio", row(**VIDEO, labels=["forged"]), "draw a box instead"),
    "an ellipse": ("label_studio", task("ellipselabels", **ELLIPSE, ellipselabels=["forged"]), "draw a box instead"),
    "CSV": ("label_studio", b"image,id,label\n/data/upload/1/a.jpg,1,[]\n", "not valid JSON"),
}


@pytest.mark.parametrize("name", JSON)
def test_annotation_files(photos, capsys, name):
    """If images without a box count as authentic, a box that is skipped becomes a wrong label."""
    form, content, expected = JSON[name]
    Path("file.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    words = ["import_boxes", "--format", form, "--annotations", "file.json", "--images", "images"]
    assert main([*words, "--unboxed", "authentic", "--out", "set.json"]) == 2
    output = capsys.readouterr()
    assert expected in output.out + output.err
    assert not Path("set.json").exists()


YOLO = {
    "a score at the end": ("0 .5 .5 .2 .2 .93", "6 numbers"),
    "commas": ("0,.5,.5,.2,.2", "correct the line"),
    "a name for a number": ("forged .5 .5 .2 .2", "correct the line"),
    "no class, but a score": (".5 .5 .2 .2 .93", "not a class number"),
    "a class below 0": ("-1 .5 .5 .2 .2", "not a class number"),
    "a class without a name": ("7 .5 .5 .2 .2", "has no name in data.yaml"),
    "no area": ("0 .5 .5 0 0", "without area"),
    "two corners": ("0 .1 .1 .9 .9", "fit as x1 y1 x2 y2 in shares"),
    "nothing but a blank": (" \n", "none of its 1 images has a box"),
}


@pytest.mark.parametrize("name", YOLO)
def test_lines_of_yolo(photos, capsys, name):
    line, expected = YOLO[name]
    for part in ("images", "labels"):
        Path("yolo", part).mkdir(parents=True)
    shutil.copy("images/a.jpg", "yolo/images")
    Path("yolo/labels/a.txt").write_text(f"{line}\n")
    Path("yolo/data.yaml").write_text("train: images\nval: images\nnames: [forged]\n")
    assert main(["import_boxes", "--format", "yolo", "--annotations", "yolo", "--out", "set.json"]) == 2
    output = capsys.readouterr()
    assert expected in output.out + output.err


SIZED = "<annotation><size><width>100</width><height>80</height></size>{}</annotation>"
CORNERS = "<bndbox><xmin>{}</xmin><ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>"
PART = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
ROTATED = "<robndbox><cx>10</cx><cy>10</cy><w>3</w><h>3</h><angle>.3</angle></robndbox>"
VOC = {
    "parts of an object": (SIZED.format(f"<object><name>m</name>{CORNERS.format(11)}{PART}</object>"), ""),
    "CVAT's own format": ("<annotations><image name='a.jpg'><box label='m'/></image></annotations>", "<annotations>"),
    "a rotated box": (SIZED.format(f"<object><name>m</name>{ROTATED}</object>"), "no bndbox"),
    "a comma for a point": (SIZED.format(f"<object><name>m</name>{CORNERS.format('10,5')}</object>"), "no bndbox"),
    "capital tags": (SIZED.format(f"<Object><name>m</name>{CORNERS.format(11)}</Object>"), "has a box"),
}


@pytest.mark.parametrize("name", VOC)
def test_files_of_voc(photos, capsys, name):
    content, expected = VOC[name]
    Path("images/a.xml").write_text(content)
    code = main(["import_boxes", "--format", "voc", "--annotations", "images", "--out", "set.json"])
    output = capsys.readouterr()
    assert expected in output.out + output.err
    assert code == (2 if expected else 0)
    if not expected:
        (record,) = read_manifest(Path("set.json")).records
        assert record.boxes_xyxy.tolist() == [[10, 20, 40, 60]]


def twelve_bits(path):
    path.with_suffix(".pgm").write_bytes(b"P5 100 80 4095\n" + (MARKED.astype(">u2") * 16).tobytes())


def pages(path):
    Image.fromarray(MARKED).save(path.with_suffix(".tif"), save_all=True, append_images=[Image.fromarray(255 - MARKED)])


def saved(form, picture=MARKED, **options):
    return lambda path: Image.fromarray(picture).save(path.with_suffix(f".{form}"), **options)


def two_files(path):
    saved("png")(path)
    saved("jpg", 255 - MARKED)(path)


COARSE = np.kron(MARKED[::10, ::10], np.ones((10, 10), np.uint8))
MASKS = {
    "PGM of 12 bits": (twelve_bits, ""),
    "JPEG, quality 10": (saved("jpg", quality=10), ""),
    "WebP with loss": (saved("webp", quality=20), ""),
    "JPEG 2000": (saved("jp2"), ""),
    "GIF": (saved("gif"), ""),
    "fax, where 0 is white": (saved("tif", MARKED > 0, compression="group4"), ""),
    "JPEG of four inks": (lambda p: Image.fromarray(np.dstack([MARKED] * 3)).convert("CMYK").save(f"{p}.jpg"), ""),
    "grey and opaque alpha": (saved("png", np.dstack([MARKED, MARKED * 0 + 255])), ""),
    "half of 16 bits": (saved("png", (MARKED > 0).astype(np.uint16) * 32_768), ""),
    "a grey of its own": (saved("png", MARKED // 255 * 200), ""),
    "steps": (saved("png", COARSE), ""),
    "numbers of objects": (
        saved("png", MARKED // 3 + (np.indices(MARKED.shape)[1] > 70) * np.uint8(255)),
        "2 grey values",
    ),
    "unknown ground": (saved("png", np.maximum(MARKED, np.roll(MARKED, 9, 1) // 255 * 128)), "2 grey values"),
    "pages": (pages, "contains 2 pictures"),
    "an array": (lambda path: np.save(path, MARKED), "no mask named"),
    "a drawing": (lambda path: path.with_suffix(".svg").write_text("<svg/>"), "no mask named"),
    "two files": (two_files, "more than one mask"),
    "black for manipulated": (saved("png", 255 - MARKED), "mark more than half of their images; invert them"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(photos, capsys, name):
    write, expected = MASKS[name]
    Path("masks").mkdir()
    Path("images/b.jpg").unlink()
    write(Path("masks/a"))
    code = main(["prepare", "--images", "images", "--masks", "masks", "--out", "set.json", "--workers", "1"])
    output = capsys.readouterr()
    assert expected in output.out + output.err
    if expected and "invert" not in expected:
        assert code == 2
        return
    assert code == 0
    _, truth = read_record(read_manifest(Path("set.json")).records[0])
    assert (truth != (MARKED > 0)).mean() < (1.1 if expected else 0.01)


WORDS = {
    "a threshold in per cent": ("predict --images images --out out --threshold 50", "such as 0.5 for 50 %"),
    "no batch": ("predict --images images --out out --batch_size 0", "a whole number from 1"),
    "fewer than no devices": ("predict --images images --out out --devices -1", "a whole number from 1"),
    "only what is no photo": ("predict --images drawings --out out", "ignored: 1 × .svg"),
    "a photo for a manifest": ("check --manifest images/a.jpg", "not COCO"),
    "a folder for a manifest": ("check --manifest images", "pass a JSON file"),
    "a folder for a cache": ("audit --cache images", "no cache in this folder"),
    "a folder for a run": ("report --run images", "no results in this folder"),
    "nothing to make": ("synthesize --train 0 --val 0 --test 0 --out out", "nothing to make"),
    "photos of 7 pixels": ("synthesize --train 1 --size 7 --out out", "from 32 to 8192"),
    "a share of all": ("prepare --images images --masks images --out o.json --val_share 1", "from 0 to below 1"),
    "a port beyond": ("serve --port 99999", "to 65535"),
    "a photo for scores": ("compare --baseline [images/a.jpg] --candidate [images/b.jpg]", "`boxpromptiml test`"),
    "one run on both sides": ("compare --baseline [images/a.jpg] --candidate [images/../images/a.jpg]", "listed twice"),
    "another suffix": ("export --out student.pth", ".onnx"),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_command_line_arguments(photos, capsys, name):
    Path("drawings").mkdir()
    Path("drawings/a.svg").write_text("<svg/>")
    words, expected = WORDS[name]
    assert expected in refused(words.split(), capsys)
    assert not Path("out").exists()


def test_there_are_more_than_sixty():
    assert sum(map(len, (JSON, YOLO, VOC, MASKS, WORDS))) > 60
