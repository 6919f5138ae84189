"""Reader of COCO detection JSON, as written by CVAT, Label Studio, Roboflow, custom scripts and this project.

Real files have byte-order marks, nulls, ids of any type and order, arbitrary category names, no ``area``, or polygons
instead of ``bbox`` (the box is then computed). CVAT stores the unrotated box of a rotated rectangle and the angle in
``attributes.rotation``; such boxes are wrong and are rejected. Manifests add ``split source mask_file authentic kind``
to images. Other tools may use these names differently, so their types are checked by the caller. msgspec parses the
file, and its messages give the path of an error.
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
from boxpromptiml.core.boxes import SLACK, Boxes, Corners
from boxpromptiml.core.records import InputError
from boxpromptiml.core.text_decoding import decode_json

Id = int | str
FEW = 3
"""Up to this many boxes may all be the first pixel of their images; more are whole images given as fractions."""


class CocoError(InputError):
    """A file is not valid COCO. The message is one line with the file, the path inside it and the remedy."""


class Image(msgspec.Struct, gc=False):
    """An image, with the additional fields of manifests unchecked."""

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
    """A box or a polygon. Unused fields are dropped, because files may have a million annotations."""

    image_id: Id
    id: Id | None = None
    category_id: Id | None = None
    bbox: tuple[float, ...] | None = None
    segmentation: Any = None
    attributes: Any = None


class Category(msgspec.Struct):
    """A category."""

    id: Id
    name: str | None = None


class _File(msgspec.Struct):
    images: list[Image]
    annotations: list[Annotation] | None
    categories: list[Category] | None = None
    info: Any = None


class Coco(msgspec.Struct):
    """Content of a COCO file. Ids that are integers stored as strings are converted to int.

    Attributes:
        images: the listed images, with unique ids.
        annotations: all annotations, of these images or of others.
        label_of: category id → name.
        image_root: folder that file names are relative to, itself relative to the file; empty if not given.
    """

    images: list[Image]
    annotations: list[Annotation]
    label_of: dict[Id, str]
    image_root: str

    def label(self, annotation: Annotation) -> str | None:
        """Return the name of an annotation's category, its id if it has no name, or None without a category."""
        category = annotation.category_id
        return None if category is None else self.label_of.get(category, str(category))

    def label_counts(self) -> Counter[str]:
        """Count the boxes per label. Categories without boxes are omitted: Roboflow adds one for the whole data set."""
        of_category = Counter(annotation.category_id for annotation in self.annotations)
        counts: Counter[str] = Counter()
        for category, count in of_category.items():
            if category is not None:
                counts[self.label_of.get(category, str(category))] += count
        return counts


@dataclass(frozen=True, slots=True)
class BoxTable:
    """The boxes of all images in one array, so that they are checked at once.

    Attributes:
        inside: (N, 4) float32 boxes (XYXY) clipped to their images, in the order of the images.
        first: row of each image's first box, followed by N.
        defects: image index → what is wrong with its first unusable box.
        foreign: why the numbers cannot be XYWH in pixels, or None.
    """

    inside: Boxes
    first: list[int]
    defects: dict[int, str]
    foreign: str | None

    def of(self, place: int) -> Boxes:
        """Return the (N, 4) boxes of the image at an index."""
        return self.inside[self.first[place] : self.first[place + 1]]


def read_coco(path: Path, remedy: str) -> Coco:
    """Read a COCO file without opening any image.

    Args:
        path: the JSON file.
        remedy: what to do about a file that is not COCO; the end of the error message.

    Raises:
        OSError: the file cannot be read.
        CocoError: it is not COCO, or an id occurs for two images or two categories.
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
            raise CocoError(f"{path}: {what} contains id {twice[0]} more than once; give every entry a unique id")
    named = {entry.id: entry.name.strip() or str(entry.id) for entry in categories if entry.name is not None}
    root = file.info.get("image_root") if isinstance(file.info, dict) else None
    if not isinstance(root, str | None):
        raise CocoError(f"{path}: info.image_root is {root!r}; write a folder relative to the file, as a text")
    return Coco(file.images, annotations, named, root or "")


def box_xywh(annotation: Annotation) -> Corners | str:
    """Return an annotation's unchecked box (XYWH), or why it has none."""
    where = f"annotation {annotation.id}"
    if isinstance(annotation.attributes, dict) and annotation.attributes.get("rotation"):
        return f"{where} is a rotated box; draw it upright"
    if annotation.bbox:
        if len(annotation.bbox) != 4:
            return f"{where} has a bbox of {len(annotation.bbox)} numbers; COCO uses x y width height"
        return annotation.bbox
    try:
        polygons = msgspec.convert(annotation.segmentation, list[list[float]])
        points = [point for flat in polygons for point in zip(flat[::2], flat[1::2], strict=True)]
        x1, y1, x2, y2 = box_geometry.around(points)
    except (msgspec.ValidationError, ValueError):  # a run-length mask, a point without y, no points
        return f"{where} has neither a bbox nor a polygon; add a bbox"
    return x1, y1, x2 - x1, y2 - y1


def box_table(path: Path, coco: Coco) -> BoxTable:
    """Collect and check all boxes of a file.

    Raises:
        CocoError: a box belongs to an unlisted image.
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
    with np.errstate(invalid="ignore"):  # infinite coordinates
        sides = corners[:, 2:] - corners[:, :2]
    usable = (
        (sides > 0).all(1)
        & (sides >= box_geometry.PIXEL).any(1)
        & ~box_geometry.look_like_shares(corners)
        & np.isfinite(corners).all(1)
        & (box_geometry.area(inside) > 0)
    )
    defects: dict[int, str] = {}
    for row in np.flatnonzero(~usable)[::-1].tolist():  # backwards, so that each image keeps its first defect
        image = coco.images[places[row]]
        defects[int(places[row])] = reasons.get(int(order[row])) or _defect(corners[row], image)
    first = np.searchsorted(places, np.arange(len(coco.images) + 1))
    return BoxTable(inside, first.tolist(), defects, foreign_numbers(corners, sizes))


def size_reason(image: Image) -> str | None:
    """Return why an image's stated size is invalid, or None."""
    width, height = image.width, image.height
    if width is None or height is None:
        return "its size is missing; add it in pixels, or let `boxpromptiml import_boxes` read it from the file"
    if not (1 <= width < 2**31 and 1 <= height < 2**31 and width == int(width) and height == int(height)):
        return f"its size is given as {width:g}×{height:g}; write the size in pixels"
    return None


def authentic_reason(image: Image) -> str | None:
    """Return why it is unclear whether an image is authentic, or None."""
    if not isinstance(image.authentic, bool | None):  # 1 equals True, but nothing else treats it so
        return f"its authentic is {image.authentic!r}; write true or false"
    if image.kind == "authentic" and not image.authentic:  # reports use this name for images without manipulation
        return "its kind is authentic, but it is not marked so; name the kind of manipulation, or mark it authentic"
    return None


def foreign_numbers(boxes_xyxy: Boxes, sizes: NDArray[np.float32]) -> str | None:
    """Return why the boxes of a file cannot be XYWH in pixels, or None.

    Any single such box could be valid, but not all of them together. The rules are ours: all numbers lie between 0 and
    1; or at least half of the boxes exceed their images, while all of them would fit as XYXY.

    Args:
        boxes_xyxy: (N, 4) boxes as read, converted from XYWH.
        sizes: (N, 2) width and height of their images, NaN if unknown.
    """
    real = np.isfinite(boxes_xyxy).all(1) & ~(sizes <= 1).all(1)
    boxes_xyxy, sizes = boxes_xyxy[real], sizes[real]
    if not len(boxes_xyxy):
        return None
    fraction = (boxes_xyxy != boxes_xyxy.round()).any()
    if (boxes_xyxy >= -SLACK).all() and (boxes_xyxy <= 1 + SLACK).all() and (fraction or len(boxes_xyxy) >= FEW):
        return "all numbers of its boxes lie between 0 and 1, like shares of the image"
    corner = box_geometry.xyxy_to_xywh(boxes_xyxy)[:, 2:]
    over = np.asarray((boxes_xyxy[:, 2:] > sizes + 1).any(1))
    fits = (corner > boxes_xyxy[:, :2]).all(1) & (corner <= sizes + 1).all(1)
    if over.any() and over.mean() >= 0.5 and fits.all():
        return (
            f"{over.sum():,} of its {len(over):,} boxes extend beyond their images as x y width height, but all "
            "of them fit as x1 y1 x2 y2"
        )
    return None


def _corners(annotations: list[Annotation], reasons: dict[int, str]) -> Boxes:
    """Return (N, 4) boxes (XYXY) in file order, NaN for missing ones; adds the reasons to ``reasons`` by row."""
    given: list[Corners] = []
    for row, annotation in enumerate(annotations):
        box = box_xywh(annotation)
        if isinstance(box, str):
            reasons[row] = box
            box = (math.nan,) * 4
        given.append(box)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite
        flat = np.fromiter(chain.from_iterable(given), np.float32, 4 * len(given))
        return box_geometry.xywh_to_xyxy(flat.reshape(-1, 4))


def _defect(box_xyxy: NDArray[np.float32], image: Image) -> str:
    """Describe what is wrong with an unusable box."""
    reason = size_reason(image)
    if reason is None:
        reason = box_geometry.defect(box_xyxy, int(image.width or 0), int(image.height or 0))
    return f"it has {reason}; draw it again"


def _number_texts(images: list[Image], annotations: list[Annotation], categories: list[Category]) -> None:
    """Convert numeric string ids to int, because some tools write the same id as a number and as a string."""
    for image in images:
        if type(image.id) is str:  # faster than a call, for a million images
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
