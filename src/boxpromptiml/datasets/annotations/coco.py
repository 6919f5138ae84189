"""COCO detection JSON: import of drawn boxes through `boxpromptiml.manifests.coco`, and export.

Our additional image fields (``split source mask_file authentic kind``) are written, and read if present; CVAT drops
them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from boxpromptiml.core.boxes import xyxy_to_xywh
from boxpromptiml.core.records import LARGEST_ID, ImageRecord
from boxpromptiml.datasets.annotations.drawn import (
    AnnotationError,
    Drawings,
    DrawnBox,
    DrawnImage,
    named_split,
    unreadable,
)
from boxpromptiml.manifests.coco import Annotation, Coco, CocoError, Id, Image, authentic_reason, box_xywh, read_coco


def read(path: Path) -> Drawings:
    """Read a COCO file; its images are expected in the same folder.

    Raises:
        AnnotationError: the file is missing, is not valid COCO, or repeats an image id.
    """
    try:
        coco = read_coco(path, "check --format")
    except OSError as error:
        raise unreadable(path, error) from None
    except CocoError as error:
        raise AnnotationError(str(error)) from None
    boxes: dict[Id, list[DrawnBox]] = defaultdict(list)
    for annotation in coco.annotations:
        boxes[annotation.image_id].append(_box(annotation, coco))
    numbered = all(isinstance(image.id, int) and abs(image.id) <= LARGEST_ID for image in coco.images)
    images = [_drawn(image, boxes.pop(image.id, []), numbered) for image in coco.images]
    strays = [f"{path}: {len(left)} boxes of image {id_}, which is not listed" for id_, left in boxes.items()]
    return Drawings(path.parent, images, strays)


def exported(records: Sequence[ImageRecord], root: Path, label: str) -> dict[str, Any]:
    """Convert records to a COCO file with all fields that CVAT and pycocotools require.

    Args:
        records: images and boxes.
        root: folder that file names are relative to.
        label: name of the only category.
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
    return {
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "info": {"description": "boxpromptiml"},
        "categories": [{"id": 1, "name": label, "supercategory": ""}],
        "images": images,
        "annotations": annotations,
    }


def _box(annotation: Annotation, coco: Coco) -> DrawnBox:
    label, box = coco.label(annotation), box_xywh(annotation)
    labels = () if label is None else (label,)
    if isinstance(box, str):
        return DrawnBox(labels, box)
    x, y, w, h = box
    return DrawnBox(labels, (x, y, x + w, y + h))


def _drawn(image: Image, boxes: list[DrawnBox], numbered: bool) -> DrawnImage:
    split = named_split(image.split.strip()) if isinstance(image.split, str) else None
    defect = authentic_reason(image)
    if isinstance(image.split, str) and image.split.strip() and split is None:
        defect = defect or f"its split is {image.split!r}; write train, val or test"
    return DrawnImage(
        names=(image.file_name,),
        boxes=boxes,
        size=_size(image),
        authentic=image.authentic is True,
        split=split,
        source=_text(image.source),
        mask_file=_text(image.mask_file),
        kind=_text(image.kind),
        image_id=cast(int, image.id) if numbered else None,
        defect=defect,
    )


def _size(image: Image) -> tuple[int, int] | None:
    """Return the stated size of the image; None for null, 0 and NaN."""
    width, height = image.width or 0, image.height or 0
    return (round(width), round(height)) if 1 <= width < math.inf and 1 <= height < math.inf else None


def _text(value: Any) -> str | None:
    """Return a non-empty string, else None; other tools use the names of our fields differently."""
    return value if isinstance(value, str) and value else None
