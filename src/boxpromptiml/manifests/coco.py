"""COCO detection JSON as CVAT, Label Studio, Roboflow, people's scripts and this project write it: the one reader.

In the wild: byte-order marks, nulls, ids of any kind and order, categories of any name, no ``area``, no ``bbox`` but
polygons (the box is drawn around them). CVAT keeps the unrotated box of a rotated rectangle and notes the angle in
``attributes.rotation``; such a box is not where it was drawn and is refused. Manifests add ``split source mask_file
authentic kind`` to an image; others may use these names for something else, so their types are checked by who reads
them. The file is parsed and typed by msgspec, whose messages name the place of a mistake.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core import boxes as box_geometry
from boxpromptiml.core.boxes import Boxes, Corners
from boxpromptiml.core.records import InputError
from boxpromptiml.core.text_decoding import decode_json

Id = int | str
SLACK = 0.01
"""How far outside 0 to 1 a share may lie; rounding does that."""
FEW = 3
"""Boxes that may all be the first pixel of their images. More of them are whole images in shares."""


class CocoError(InputError):
    """A file that is not COCO. Its text is one line that names the file, the place and the remedy."""


class Image(msgspec.Struct, gc=False):
    """An image, with the extras of manifests as they are."""

    id: Id
    file_name: str
    width: float | None = None
    height: float | None = None
    split: Any = None
    source: Any = None
    mask_file: Any = None
    authentic: Any = None
    kind: Any = None


class Annotation(msgspec.Struct, gc=False):
    """A box or a polygon. Fields that nothing here reads are dropped: a million of each would be a burden."""

    image_id: Id
    id: Id | None = None
    category_id: Id | None = None
    bbox: tuple[float, ...] | None = None
    segmentation: Any = None
    attributes: Any = None


class Category(msgspec.Struct):
    """A label."""

    id: Id
    name: str | None = None


class _File(msgspec.Struct):
    images: list[Image]
    annotations: list[Annotation] | None
    categories: list[Category] | None = None
    info: Any = None


class Coco(msgspec.Struct):
    """What a file holds. Ids that are whole numbers written as texts are numbers here.

    Attributes:
        images: with different ids.
        annotations: of these images, or of others.
        label_of: category id → name.
        image_root: folder that file names count from, relative to the file; empty where none is named.
    """

    images: list[Image]
    annotations: list[Annotation]
    label_of: dict[Id, str]
    image_root: str

    def label(self, annotation: Annotation) -> str | None:
        """Name of a box's category, its number where the file does not name it, or None where it has no category."""
        category = annotation.category_id
        return None if category is None else self.label_of.get(category, str(category))

    def label_counts(self) -> Counter[str]:
        """Label → number of its boxes. Categories that no box has do not count: Roboflow adds one for the whole set."""
        of_category = Counter(annotation.category_id for annotation in self.annotations)
        counts: Counter[str] = Counter()
        for category, count in of_category.items():
            if category is not None:
                counts[self.label_of.get(category, str(category))] += count
        return counts


@dataclass(frozen=True, slots=True)
class BoxTable:
    """The boxes of all images in one array, which is checked at once.

    Attributes:
        inside: (N, 4) float32 corner boxes cut to their images, in the order of the images.
        first: for each image the row of its first box, and N at the end.
        defects: by place of the image, what is wrong with its first unusable box.
        foreign: what speaks against all of them being in pixels, or None.
    """

    inside: Boxes
    first: list[int]
    defects: dict[int, str]
    foreign: str | None

    def of(self, place: int) -> Boxes:
        """(N, 4) boxes of the image at a place."""
        return self.inside[self.first[place] : self.first[place + 1]]


def read_coco(path: Path, remedy: str) -> Coco:
    """Read a COCO file. No image file is looked at.

    Args:
        path: the JSON file.
        remedy: what to do about a file that is not COCO; ends the error's line.

    Raises:
        OSError: it cannot be read.
        CocoError: it is not such JSON, or an id stands for two images or two categories.
    """
    try:
        file = decode_json(path.read_bytes(), _File)
    except (ValueError, RecursionError) as error:
        raise CocoError(f"{path}: not COCO: {error}; {remedy}") from None
    annotations, categories = file.annotations or [], file.categories or []
    _number_texts(file.images, annotations, categories)
    for what, ids in (("images", file.images), ("categories", categories)):
        twice = [value for value, count in Counter(entry.id for entry in ids).items() if count > 1]
        if twice:
            raise CocoError(f"{path}: {what} holds id {twice[0]} more than once; give every entry an id of its own")
    named = {entry.id: entry.name.strip() or str(entry.id) for entry in categories if entry.name is not None}
    root = file.info.get("image_root") if isinstance(file.info, dict) else None
    return Coco(file.images, annotations, named, root if isinstance(root, str) else "")


def box_xywh(annotation: Annotation) -> Corners | str:
    """``x y width height`` of an annotation's box, unchecked, or in words why it has none."""
    where = f"annotation {annotation.id}"
    if isinstance(annotation.attributes, dict) and annotation.attributes.get("rotation"):
        return f"{where} is a rotated box; draw it upright"
    if annotation.bbox:
        if len(annotation.bbox) != 4:
            return f"{where} has a bbox of {len(annotation.bbox)} numbers; COCO's are x y width height"
        return annotation.bbox
    try:
        polygons = msgspec.convert(annotation.segmentation, list[list[float]])
        points = [point for flat in polygons for point in zip(flat[::2], flat[1::2], strict=True)]
        x1, y1, x2, y2 = box_geometry.around(points)
    except (msgspec.ValidationError, ValueError):  # a run-length mask, a point without y, no point at all
        return f"{where} has neither a bbox nor a polygon; add a bbox"
    return x1, y1, x2 - x1, y2 - y1


def box_table(path: Path, coco: Coco) -> BoxTable:
    """All boxes of a file in pixels.

    Raises:
        CocoError: a box belongs to an image that is not listed.
    """
    place_of = {image.id: place for place, image in enumerate(coco.images)}
    count = len(coco.annotations)
    places = np.fromiter((place_of.get(a.image_id, -1) for a in coco.annotations), np.intp, count)
    if (places < 0).any():
        stray = coco.annotations[int(np.argmax(places < 0))]
        raise CocoError(
            f"{path}: annotation {stray.id} belongs to image {stray.image_id}, which is not listed; "
            "remove the annotation or add the image"
        )
    order = np.argsort(places, kind="stable")
    places = places[order]
    reasons: dict[int, str] = {}
    corners = _corners(coco.annotations, reasons)[order]
    known = (math.nan if side is None else side for image in coco.images for side in (image.width, image.height))
    sizes = np.fromiter(known, np.float32).reshape(-1, 2)[places]
    inside = np.clip(corners, 0, np.tile(sizes, 2))
    with np.errstate(invalid="ignore"):  # infinite numbers
        sides = corners[:, 2:] - corners[:, :2]
    usable = (
        (sides > 0).all(1)
        & (sides >= box_geometry.PIXEL).any(1)
        & np.isfinite(corners).all(1)
        & (box_geometry.area(inside) > 0)
    )
    defects: dict[int, str] = {}
    for row in np.flatnonzero(~usable)[::-1].tolist():  # backwards: the first of an image stays
        image = coco.images[places[row]]
        defects[int(places[row])] = reasons.get(int(order[row])) or _defect(corners[row], image)
    first = np.searchsorted(places, np.arange(len(coco.images) + 1))
    return BoxTable(inside, first.tolist(), defects, foreign_numbers(corners, sizes))


def size_reason(image: Image) -> str | None:
    """Why the size that is given for an image is none, or None."""
    width, height = image.width, image.height
    if width is None or height is None:
        return "its size is not given; write it in pixels, or let `boxpromptiml import_boxes` read it from the file"
    if not (1 <= width < 2**31 and 1 <= height < 2**31 and width == int(width) and height == int(height)):
        return f"its size is given as {width:g}×{height:g}; write the size in pixels"
    return None


def foreign_numbers(boxes_xyxy: Boxes, sizes: NDArray[np.float32]) -> str | None:
    """What speaks against all boxes of a file being ``x y width height`` in pixels, or None.

    Every single one of such boxes could be meant; all of them together cannot. The rules are ours: all numbers lie
    between 0 and 1, or at least half of the boxes reach over the border of their images while all of them would fit if
    width and height were the other corner.

    Args:
        boxes_xyxy: (N, 4) corner boxes as read.
        sizes: (N, 2) width and height of their images, NaN where the file does not say.
    """
    real = np.isfinite(boxes_xyxy).all(1) & ~(sizes <= 1).all(1)
    boxes_xyxy, sizes = boxes_xyxy[real], sizes[real]
    if not len(boxes_xyxy):
        return None
    fraction = (boxes_xyxy != boxes_xyxy.round()).any()
    if (boxes_xyxy >= -SLACK).all() and (boxes_xyxy <= 1 + SLACK).all() and (fraction or len(boxes_xyxy) >= FEW):
        return "all numbers of its boxes lie between 0 and 1, as shares of the image do"
    corner = box_geometry.xyxy_to_xywh(boxes_xyxy)[:, 2:]
    over = np.asarray((boxes_xyxy[:, 2:] > sizes + 1).any(1))
    fits = (corner > boxes_xyxy[:, :2]).all(1) & (corner <= sizes + 1).all(1)
    if over.any() and over.mean() >= 0.5 and fits.all():
        return (
            f"{over.sum():,} of its {len(over):,} boxes reach over the border of their images as x y width height, and "
            "all of them fit as x1 y1 x2 y2"
        )
    return None


def _corners(annotations: list[Annotation], reasons: dict[int, str]) -> Boxes:
    """(N, 4) corner boxes in the order of the file. Adds to ``reasons``, by row, why there is none (NaN)."""
    given: list[Corners] = []
    for row, annotation in enumerate(annotations):
        box = box_xywh(annotation)
        if isinstance(box, str):
            reasons[row] = box
            box = (math.nan,) * 4
        given.append(box)
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite
        flat = np.fromiter(chain.from_iterable(given), np.float32, 4 * len(given))
        return box_geometry.xywh_to_xyxy(flat.reshape(-1, 4))


def _defect(box_xyxy: NDArray[np.float32], image: Image) -> str:
    """What is wrong with a box that cannot be used, in words."""
    reason = size_reason(image)
    if reason is None:
        reason = box_geometry.defect(box_xyxy, int(image.width or 0), int(image.height or 0))
    return f"it has {reason}; draw it again"


def _number_texts(images: list[Image], annotations: list[Annotation], categories: list[Category]) -> None:
    """Some tools write the same id as a number in one place and as a text in another."""
    for image in images:
        if type(image.id) is str:  # quicker than a call, a million times
            image.id = _number(image.id)
    for category in categories:
        category.id = _number(category.id)
    for annotation in annotations:
        if type(annotation.image_id) is str:
            annotation.image_id = _number(annotation.image_id)
        if type(annotation.category_id) is str:
            annotation.category_id = _number(annotation.category_id)


def _number(value: Id) -> Id:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19 else value
