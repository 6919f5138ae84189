"""Geometry of bounding boxes.

Boxes are (N, 4) float32 arrays ``x1 y1 x2 y2`` (XYXY) in pixels, with x2 and y2 exclusive: the box of the first pixel
is ``0 0 1 1``. COCO's ``x y w h`` (XYWH) is used in manifests only.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxpromptiml.core.limits import Share, within_limits
from boxpromptiml.core.records import InputError

Boxes = NDArray[np.float32]
Corners = tuple[float, float, float, float]
PIXEL = 0.9
"""Smallest side of a box in pixels: one pixel, minus a tolerance for float32 rounding."""
SLACK = 0.01
"""How far outside [0, 1] a share of an image's side may lie due to rounding."""


def as_boxes(rows: ArrayLike | Iterable[ArrayLike]) -> Boxes:
    """Convert rows of four numbers to an (N, 4) float32 array; an empty input gives (0, 4)."""
    array = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.float32)  # type: ignore[arg-type]
    if array.size == 0:
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have shape (N, 4), found {array.shape}")
    return array


def xywh_to_xyxy(boxes_xywh: Boxes) -> Boxes:
    """Convert (N, 4) boxes from XYWH to XYXY."""
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def xyxy_to_xywh(boxes_xyxy: Boxes) -> Boxes:
    """Convert (N, 4) boxes from XYXY to XYWH."""
    return np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def clip(boxes_xyxy: Boxes, width: float, height: float) -> Boxes:
    """Clip boxes to an image of ``width`` × ``height`` pixels. A box entirely outside gets zero area."""
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes_xyxy, 0, limit).astype(np.float32)


def area(boxes_xyxy: Boxes) -> NDArray[np.float32]:
    """Return the (N,) box areas in square pixels, 0 for a box with reversed corners."""
    sides = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def scale(boxes_xyxy: Boxes, factor_x: float, factor_y: float) -> Boxes:
    """Scale boxes to the frame of a resized image."""
    return (boxes_xyxy * np.array([factor_x, factor_y, factor_x, factor_y], np.float32)).astype(np.float32)


def look_like_shares(boxes_xyxy: Boxes) -> NDArray[np.bool_]:
    """Return for each of (N, 4) boxes whether it ends inside the first pixel and has fractions.

    A box of nearly the whole image in shares of its sides looks like this; the first pixel itself has no fractions.
    """
    with np.errstate(invalid="ignore"):  # infinite coordinates
        within = (boxes_xyxy[:, 2:] <= 1 + SLACK).all(1) & (boxes_xyxy[:, :2] >= -SLACK).all(1)
        return np.asarray(within & (boxes_xyxy != boxes_xyxy.round()).any(1))


def defect(box_xyxy: NDArray[np.float32], width: int, height: int) -> str | None:
    """Describe why one box of an image is unusable; None for a usable box."""
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    if not np.isfinite(box_xyxy).all():
        return "a box with a coordinate that is not a number"
    if x2 < x1 or y2 < y1:
        return f"a reversed box (width {x2 - x1:g}, height {y2 - y1:g})"
    if x2 == x1 or y2 == y1:
        return f"a box without area at x={x1:g} y={y1:g}"
    if (x2 - x1 < PIXEL and y2 - y1 < PIXEL) or look_like_shares(box_xyxy[None])[0]:
        return (
            f"a box smaller than a pixel ({x2 - x1:.3g}×{y2 - y1:.3g}; boxes are in pixels, not in shares of the image)"
        )
    inside = clip(box_xyxy[None], width, height)
    if area(inside)[0] == 0:
        return f"a box outside the image (x={x1:g} y={y1:g} in {width}×{height})"
    return None


def around(points: Iterable[tuple[float, float]]) -> Corners:
    """Return the bounding box ``x1 y1 x2 y2`` of a polygon's vertices.

    Raises:
        ValueError: there are no points.
    """
    across, down = zip(*points, strict=True)
    return min(across), min(down), max(across), max(down)


def with_margin(boxes_xyxy: Boxes, margin: float, width: float, height: float) -> Boxes:
    """Expand each side of the boxes by a fraction of the box's own size, clipped to the image.

    Args:
        boxes_xyxy: (N, 4) boxes.
        margin: fraction of the box's width (left, right) and height (top, bottom); 0 leaves the box unchanged.
        width: width of the image in pixels.
        height: height of the image in pixels.
    """
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * margin
    return clip(boxes_xyxy + np.concatenate([-sides, sides], axis=1), width, height)


def rasterize(boxes_xyxy: Boxes, width: int, height: int) -> NDArray[np.bool_]:
    """Rasterize the union of the boxes as an (H, W) bool mask: True for every pixel that a box touches."""
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
    """Move each side outwards by a random fraction of the box's size, like a person drawing coarse boxes.

    Args:
        boxes_xyxy: (N, 4) tight boxes.
        looseness: largest fraction of the box's width or height; each side is drawn uniformly and independently.
        rng: the only source of randomness.
        width: width of the image in pixels.
        height: height of the image in pixels.
        looseness_min: smallest fraction, at most ``looseness``.

    Raises:
        InputError: a looseness is outside [0, 1], or ``looseness_min`` is above ``looseness``.
    """
    if looseness_min > looseness:
        raise InputError(
            f"looseness_min is {looseness_min:g}; it must lie between 0 and looseness, which is {looseness:g}"
        )
    sides = np.tile(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 2)
    shares = np.asarray(rng.uniform(looseness_min, looseness, sides.shape), np.float32)
    return clip(boxes_xyxy + np.array([-1, -1, 1, 1], np.float32) * shares * sides, width, height)


def merge_overlapping(boxes_xyxy: Boxes) -> Boxes:
    """Replace overlapping boxes by their bounding box until none overlap. Boxes that only touch do not overlap."""
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


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
