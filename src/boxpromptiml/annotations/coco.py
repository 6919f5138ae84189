"""COCO detection JSON, as CVAT, Label Studio, Roboflow and most others write it.

In the wild: ids of any kind and order, categories of any name, no ``area``, no ``bbox`` but polygons (the box is drawn
around them). CVAT keeps the unrotated box of a rotated rectangle and notes the angle in ``attributes.rotation``; such
a box is not where it was drawn and is refused. Our own extras of an image (``split source mask_file authentic kind``)
are written, and read where they are there; CVAT drops them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from boxpromptiml.annotations.drawn import AnnotationError, Corners, Drawings, DrawnBox, DrawnImage, around, parse_json
from boxpromptiml.boxes import xyxy_to_xywh
from boxpromptiml.provenance import write_json
from boxpromptiml.records import ImageRecord, Split

Id = int | str


class _Image(msgspec.Struct):
    id: Id
    file_name: str
    width: float | None = None
    height: float | None = None
    split: Any = None
    source: Any = None
    mask_file: Any = None
    authentic: Any = None
    kind: Any = None


class _Annotation(msgspec.Struct):
    image_id: Id
    id: Id | None = None
    category_id: Id | None = None
    bbox: list[float] | None = None
    segmentation: Any = None
    attributes: Any = None


class _Category(msgspec.Struct):
    id: Id
    name: str


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = []


def read(path: Path) -> Drawings:
    """Read a COCO file; its images are expected beside it.

    Raises:
        AnnotationError: the file is missing, is not such JSON, or holds an image id twice.
    """
    coco = parse_json(path, _Coco)
    twice = [value for value, count in Counter(image.id for image in coco.images).items() if count > 1]
    if twice:
        raise AnnotationError(f"{path}: images holds id {twice[0]} more than once; give every image an id of its own")
    category = {entry.id: entry.name for entry in coco.categories}
    boxes: dict[Id, list[DrawnBox]] = defaultdict(list)
    for annotation in coco.annotations:
        boxes[annotation.image_id].append(_box(annotation, category))
    numbered = all(isinstance(image.id, int) for image in coco.images)
    images = [_drawn(image, boxes.pop(image.id, []), numbered) for image in coco.images]
    strays = [f"{path}: {len(left)} boxes of image {id_}, which is not listed" for id_, left in boxes.items()]
    return Drawings(path.parent, images, strays)


def write(out: Path, records: Sequence[ImageRecord], root: Path, label: str) -> None:
    """Write images and boxes with every field that CVAT and pycocotools ask for.

    Args:
        out: the JSON file.
        records: images and boxes.
        root: folder that file names are relative to.
        label: name of the one category.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        images.append(
            {
                "id": record.image_id,
                "width": record.width,
                "height": record.height,
                "file_name": record.path.relative_to(root).as_posix(),
                "license": 0,
                "split": record.split,
                "source": record.source,
                "mask_file": None if record.mask_path is None else record.mask_path.relative_to(root).as_posix(),
                "authentic": record.authentic,
                "kind": record.kind,
            }
        )
        for x, y, w, h in xyxy_to_xywh(record.boxes_xyxy).astype(float).round(3).tolist():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record.image_id,
                    "category_id": 1,
                    "segmentation": [],
                    "area": w * h,
                    "bbox": [x, y, w, h],
                    "iscrowd": 0,
                }
            )
    content = {
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "info": {"description": "boxpromptiml"},
        "categories": [{"id": 1, "name": label, "supercategory": ""}],
        "images": images,
        "annotations": annotations,
    }
    write_json(out, content)


def _box(annotation: _Annotation, category: dict[Id, str]) -> DrawnBox:
    name = category.get(annotation.category_id) if annotation.category_id is not None else None
    return DrawnBox(() if name is None else (name,), _corners(annotation))


def _corners(annotation: _Annotation) -> Corners | str:
    where = f"annotation {annotation.id}"
    if isinstance(annotation.attributes, dict) and annotation.attributes.get("rotation"):
        return f"{where} is a rotated box; draw it upright"
    if annotation.bbox:
        if len(annotation.bbox) != 4:
            return f"{where} has a bbox of {len(annotation.bbox)} numbers; COCO's are x y width height"
        x, y, w, h = annotation.bbox
        return x, y, x + w, y + h
    try:
        polygons = msgspec.convert(annotation.segmentation, list[list[float]])
        points = [point for flat in polygons for point in zip(flat[::2], flat[1::2], strict=True)]
        return around(points)
    except (msgspec.ValidationError, ValueError):  # a run-length mask, a point without y, no point at all
        return f"{where} has neither a bbox nor a polygon; add a bbox"


def _drawn(image: _Image, boxes: list[DrawnBox], numbered: bool) -> DrawnImage:
    return DrawnImage(
        names=(image.file_name,),
        boxes=boxes,
        size=(round(image.width), round(image.height)) if image.width and image.height else None,
        authentic=image.authentic is True,
        split=cast(Split, image.split) if image.split in get_args(Split) else None,
        source=_text(image.source),
        mask_file=_text(image.mask_file),
        kind=_text(image.kind),
        image_id=cast(int, image.id) if numbered else None,
    )


def _text(value: Any) -> str | None:
    """Files in the wild use our extras' names for things of their own."""
    return value if isinstance(value, str) and value else None
