"""One small set of drawn boxes as every reader gets it: manifests, and what annotation tools export."""

import json
import re
from dataclasses import dataclass, replace
from xml.etree import ElementTree

import numpy as np
import yaml
from PIL import Image

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.datasets.annotations.import_boxes import import_boxes
from boxpromptiml.manifests.manifest import read_manifest, write_manifest

SIZE = 100, 80
BOX = 10.5, 20.5, 40, 60
READERS = ("manifest", "coco", "into", "label_studio", "json_min", "yolo", "voc")
"""`read_manifest`, `import_boxes` for each format, and `import_boxes` into an existing manifest."""

ODD = ["shot 10:20:30.png", "100%.png", "a%20b.png", "a b.png", "a?d=c.png", "c.png", "d#1.png", "d.png", "(1).png",
       '"q".png', " e.png", "e.png", "1a2b3c4d-f.png", "f.png", "g_png.rf.00ff.png", "g.png", "ü.png", "h.i.png",
       "https:j.png", "&amp;.png", "~.png", "$HOME.png", "-k.png", "%.png", "l..m.png"]  # fmt: skip
"""Unusual photo names, some of which could be mistaken for one another."""


@dataclass(frozen=True)
class Annotations:
    """Annotations of two photos, ``a.jpg`` and ``b.jpg``.

    Attributes:
        names: File names in the annotations.
        boxes: Per photo a list of (label, (x1, y1, x2, y2)) in pixels.
        size: Width and height in the annotations.
        encoding: Text encoding of the files.
        nulls: Write null or nothing for optional values.
        texts: Write ids as strings.
        rotation: Rotation of the first photo's boxes.
        twice: List the first photo twice.
    """

    names: tuple[str, str] = ("a.jpg", "b.jpg")
    boxes: tuple[list, list] = ([("forged", BOX)], [("forged", BOX)])
    size: tuple[int, int] = SIZE
    encoding: str = "utf-8"
    nulls: bool = False
    texts: bool = False
    rotation: float = 0.0
    twice: bool = False

    @property
    def images(self):
        pairs = list(zip(self.names, self.boxes, strict=True))
        return [*pairs, pairs[0]] if self.twice else pairs

    def replaced(self, **changes):
        return replace(self, **changes)


@dataclass(frozen=True)
class Outcome:
    """Result of a reader: boxes by photo name, names of authentic photos, and everything it printed."""

    boxes: dict
    authentic: set
    output: str


def read_with(reader, folder, drawn, capsys, **options):
    """Write annotations in a reader's format, read them with it and return the outcome."""
    photos = folder / "images"
    photos.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)).save(photos / name)
    path = drawn(folder) if callable(drawn) else written(reader, folder, drawn)
    try:
        manifest = read_manifest(path if reader == "manifest" else _imported(reader, folder, path, options))
    except InputError as error:
        return Outcome({}, set(), str(error) + capsys.readouterr().out)
    assert all(record.path.resolve().parent == photos for record in manifest.records), "nothing else is ever opened"
    lines = capsys.readouterr().out + "".join(f"{aside.file}: {aside.reason}\n" for aside in manifest.set_aside)
    boxes = {record.path.name: [tuple(box) for box in record.boxes_xyxy.tolist()] for record in manifest.records}
    return Outcome(boxes, {record.path.name for record in manifest.records if record.authentic}, lines)


def _imported(reader, folder, path, options):
    out = folder / "out.json"
    if reader == "into":
        records = [
            ImageRecord(i, folder / "images" / f"{name}.jpg", *SIZE, as_boxes([(1, 1, 9, 9)]), "train", "s")
            for i, name in enumerate("ab", start=1)
        ]
        write_manifest(folder / "before.json", records)
        import_boxes("coco", path, out, into=folder / "before.json", overwrite=True, **options)
    else:
        images = None if reader == "yolo" else folder / "images"
        import_boxes(
            {"json_min": "label_studio"}.get(reader, reader), path, out, images=images, overwrite=True, **options
        )
    return out


def written(reader, folder, drawn):
    """Write annotations in a reader's format; return the file or folder."""
    if reader == "voc":
        return _voc(folder, drawn)
    if reader == "yolo":
        return _yolo(folder, drawn)
    content = {"label_studio": tasks, "json_min": rows}.get(reader, coco)(drawn)
    path = folder / ("images/set.json" if reader == "manifest" else "set.json")
    path.write_bytes(json.dumps(content).encode(drawn.encoding))
    return path


def coco(drawn):
    key = str if drawn.texts else int
    labels = sorted({label for _, boxes in drawn.images for label, _ in boxes})
    annotations = [
        {
            "id": key(0),
            "image_id": key(i),
            "category_id": key(labels.index(label)),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "segmentation": None if drawn.nulls else [],
            "attributes": None if drawn.nulls else {"occluded": False, "rotation": drawn.rotation * (i == 1)},
        }
        for i, (_, boxes) in enumerate(drawn.images, start=1)
        for label, (x1, y1, x2, y2) in boxes
    ]
    width, height = drawn.size
    images = [
        {"id": key(i), "file_name": name, "width": width, "height": height}
        | ({"license": None, "split": None, "authentic": None, "kind": None, "mask_file": None} if drawn.nulls else {})
        for i, (name, _) in enumerate(drawn.images, start=1)
    ]
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": key(i), "name": label} for i, label in enumerate(labels)]
    return content | ({"info": None, "licenses": None} if drawn.nulls else {})


def tasks(drawn):
    return [
        {
            "id": i,
            "data": {"image": name},
            "annotations": [
                {
                    "result": [
                        {
                            "to_name": "image",
                            "original_width": drawn.size[0],
                            "original_height": drawn.size[1],
                            "image_rotation": None if drawn.nulls else 0,
                            "value": _percent(label, box, drawn.rotation * (i == 0)),
                        }
                        for label, box in boxes
                    ],
                    "was_cancelled": None if drawn.nulls else False,
                }
            ],
            "predictions": None if drawn.nulls else [],
        }
        for i, (name, boxes) in enumerate(drawn.images)
    ]


def rows(drawn):
    size = {"original_width": drawn.size[0], "original_height": drawn.size[1]}
    return [
        {"id": i, "image": name, "quality": None, "annotation_id": 7}
        | {"label": [_percent(label, box, drawn.rotation * (i == 0)) | size for label, box in boxes]}
        for i, (name, boxes) in enumerate(drawn.images)
    ]


def _percent(label, box, rotation):
    x1, x2 = (100 * value / SIZE[0] for value in box[::2])
    y1, y2 = (100 * value / SIZE[1] for value in box[1::2])
    return {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": rotation, "rectanglelabels": [label]}


def _yolo(folder, drawn):
    """The set as YOLO: a list with the image names, and label files named after the images."""
    labels = sorted({label for _, boxes in drawn.images for label, _ in boxes})
    data = {"train": "train.txt", "val": None, "names": labels or ["forged"]} | ({"nc": None} if drawn.nulls else {})
    (folder / "data.yaml").write_bytes(yaml.safe_dump(data).encode(drawn.encoding))
    names = [re.sub(r"^((?:.*\?d=)?(?:[^?]*[/\\:])?)", r"\1images/", name) for name, _ in drawn.images]
    (folder / "train.txt").write_bytes("\r\n".join(names).encode(drawn.encoding))
    (folder / "labels").mkdir()
    for stem, boxes in zip("ab", drawn.boxes, strict=True):
        text = ""
        for label, box in boxes:
            (x1, x2), (y1, y2) = ([value / side for value in box[k::2]] for k, side in enumerate(SIZE))
            text += f"{labels.index(label)} {(x1 + x2) / 2:.9f} {(y1 + y2) / 2:.9f} {x2 - x1:.9f} {y2 - y1:.9f}\n"
        (folder / f"labels/{stem}.txt").write_bytes(text.encode(drawn.encoding))
    return folder


def _voc(folder, drawn):
    """The set as Pascal VOC: XML files with unrelated names; ``<filename>`` names the image."""
    (folder / "Annotations").mkdir()
    for i, (name, boxes) in enumerate(drawn.images):
        top = ElementTree.Element("annotation")
        ElementTree.SubElement(top, "filename").text = name
        size = ElementTree.SubElement(top, "size")
        for side, value in zip(("width", "height", "depth"), (*drawn.size, 3), strict=True):
            ElementTree.SubElement(size, side).text = str(value)
        for label, box in boxes:
            entry = ElementTree.SubElement(top, "object")
            ElementTree.SubElement(entry, "name").text = label
            if drawn.nulls:
                ElementTree.SubElement(entry, "pose")
            place = ElementTree.SubElement(entry, "robndbox" if drawn.rotation and i == 0 else "bndbox")
            for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
                ElementTree.SubElement(place, side).text = str(float(value))
        text = '<?xml version="1.0"?>' + ElementTree.tostring(top, encoding="unicode")
        (folder / f"Annotations/{i}.xml").write_bytes(text.encode(drawn.encoding))
    return folder
