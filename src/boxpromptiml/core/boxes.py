"""Geometry of coarse boxes.

Boxes are (N, 4) float32 arrays of corners ``x1 y1 x2 y2`` (XYXY) in pixels, half-open: a box of one pixel at the
origin is ``0 0 1 1``. COCO's ``x y w h`` (XYWH) exists only in manifests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxpromptiml.core.limits import Share, within_limits
from boxpromptiml.core.records import InputError

Boxes = NDArray[np.float32]
BoxMode = Literal["region", "image"]
Corners = tuple[float, float, float, float]
PIXEL = 0.9
"""Side of the smallest box: a pixel, less what rounding to float32 takes."""


def as_boxes(rows: ArrayLike | Iterable[ArrayLike]) -> Boxes:
    """Turn rows of four numbers, or nothing at all, into an (N, 4) float32 array.

    Raises:
        ValueError: a row does not hold four numbers.
    """
    array = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.float32)  # type: ignore[arg-type]
    if array.size == 0:
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have shape (N, 4), found {array.shape}")
    return array


def xywh_to_xyxy(boxes_xywh: Boxes) -> Boxes:
    """Corner boxes from COCO boxes, (N, 4) to (N, 4)."""
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def xyxy_to_xywh(boxes_xyxy: Boxes) -> Boxes:
    """COCO boxes from corner boxes, (N, 4) to (N, 4)."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def clip(boxes_xyxy: Boxes, width: float, height: float) -> Boxes:
    """Boxes cut to an image of ``width`` × ``height`` pixels. A box wholly outside comes back with zero area."""
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes_xyxy, 0, limit).astype(np.float32)


def area(boxes_xyxy: Boxes) -> NDArray[np.float32]:
    """(N,) areas in square pixels; 0 for a reversed box."""
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def scale(boxes_xyxy: Boxes, factor_x: float, factor_y: float) -> Boxes:
    """Boxes in the frame of an image resized by the two factors."""
    return (boxes_xyxy * np.array([factor_x, factor_y, factor_x, factor_y], np.float32)).astype(np.float32)


def defect(box_xyxy: NDArray[np.float32], width: int, height: int) -> str | None:
    """Say in words what is wrong with one box of an image, or None when it can be used."""
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    if not np.isfinite(box_xyxy).all():
        return "a box with a coordinate that is not a number"
    if x2 < x1 or y2 < y1:
        return f"a reversed box (width {x2 - x1:g}, height {y2 - y1:g})"
    if x2 == x1 or y2 == y1:
        return f"a box without area at x={x1:g} y={y1:g}"
    if x2 - x1 < PIXEL and y2 - y1 < PIXEL:
        return (
            f"a box smaller than a pixel ({x2 - x1:.3g}×{y2 - y1:.3g}; boxes are in pixels, not in shares of the image)"
        )
    inside = clip(box_xyxy[None], width, height)
    if area(inside)[0] == 0:
        return f"a box outside the image (x={x1:g} y={y1:g} in {width}×{height})"
    return None


def around(points: Iterable[tuple[float, float]]) -> Corners:
    """``x1 y1 x2 y2`` of the box around the corners of a polygon.

    Raises:
        ValueError: there is no point.
    """
    across, down = zip(*points, strict=True)
    return min(across), min(down), max(across), max(down)


def with_margin(boxes_xyxy: Boxes, margin: float, width: float, height: float) -> Boxes:
    """Boxes with every side moved outwards by ``margin`` of the box's own side, cut to the image.

    Args:
        boxes_xyxy: (N, 4) corner boxes.
        margin: fraction of the box's width (left, right) and height (top, bottom); 0 leaves the box as it is.
        width: of the image in pixels.
        height: of the image in pixels.
    """
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * margin
    return clip(boxes_xyxy + np.concatenate([-sides, sides], axis=1), width, height)


def rasterize(boxes_xyxy: Boxes, width: int, height: int) -> NDArray[np.bool_]:
    """Union of the boxes as an (H, W) bool mask: True for every pixel that a box touches."""
    mask = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in clip(boxes_xyxy, width, height):
        mask[int(np.floor(y1)) : int(np.ceil(y2)), int(np.floor(x1)) : int(np.ceil(x2))] = True
    return mask


@within_limits
def loosen(
    boxes_xyxy: Boxes,
    looseness: Share,
    rng: np.random.Generator,
    width: int,
    height: int,
    looseness_min: Share = 0.0,
) -> Boxes:
    """Move each side outwards by a random share of the box, as a person drawing coarse boxes would.

    Args:
        boxes_xyxy: (N, 4) tight corner boxes.
        looseness: largest share of the box's own side; each of the four sides draws its own, uniformly.
        rng: the only source of randomness.
        width: of the image in pixels.
        height: of the image in pixels.
        looseness_min: smallest share, at most the largest.

    Raises:
        InputError: the looseness is below zero, or its smallest is above its largest.
    """
    if looseness_min > looseness:
        raise InputError(f"looseness_min is {looseness_min:g}; use a share from 0 to looseness, which is {looseness:g}")
    sides = np.tile(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 2)
    shares = np.asarray(rng.uniform(looseness_min, looseness, sides.shape), np.float32)
    return clip(boxes_xyxy + np.array([-1, -1, 1, 1], np.float32) * shares * sides, width, height)


def merge_overlapping(boxes_xyxy: Boxes) -> Boxes:
    """Replace boxes that overlap by the box around them, until no two overlap. Touching sides do not overlap."""
    merged: list[NDArray[np.float32]] = []
    for candidate in boxes_xyxy:
        box = candidate.copy()
        while True:
            hits = [i for i, other in enumerate(merged) if _overlap(box, other)]
            if not hits:
                break
            group = np.stack([box, *(merged[i] for i in hits)])
            box = np.concatenate([group[:, :2].min(0), group[:, 2:].max(0)])
            merged = [other for i, other in enumerate(merged) if i not in hits]
        merged.append(box)
    return as_boxes(sorted(box.tolist() for box in merged))


def boxes_from_mask(
    mask: NDArray[np.bool_],
    rng: np.random.Generator,
    looseness: float = 0.15,
    min_area: float = 0.0005,
    mode: BoxMode = "region",
    looseness_min: float = 0.0,
) -> Boxes:
    """Draw the coarse boxes that a person would draw around a manipulated region.

    One box per connected region above a minimum area, each side loosened at random, overlapping boxes merged. When
    every region is below the minimum, all of them count, so that a mask that is not empty always has a box.

    Args:
        mask: (H, W) bool, True = manipulated.
        rng: the only source of randomness.
        looseness: largest outward move of a side, as a share of the box's side.
        min_area: smallest region that gets a box, as a share of the image.
        mode: ``region`` for one box per region, ``image`` for one box around all of them.
        looseness_min: smallest outward move of a side, as a share of the box's side.

    Returns:
        (N, 4) float32 corner boxes; N is 0 only for an empty mask.
    """
    height, width = mask.shape
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        return as_boxes([])
    regions = stats[1:]
    large = regions[regions[:, cv2.CC_STAT_AREA] >= min_area * mask.size]
    regions = large if len(large) else regions
    tight = xywh_to_xyxy(regions[:, :4].astype(np.float32))
    if mode == "image":
        tight = np.concatenate([tight[:, :2].min(0), tight[:, 2:].max(0)])[None]
    return merge_overlapping(loosen(tight, looseness, rng, width, height, looseness_min))


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
