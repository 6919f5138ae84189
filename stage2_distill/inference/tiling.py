"""A photo at its own resolution: overlapping tiles, blended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.images import Photo, Probability

OVERLAP = 0.25
"""Share of a tile's side that it has in common with the next, at least."""


def localize_tiled(
    photo: Photo, side: int, localize: Callable[[list[Photo]], list[Probability]], batch_size: int = 8
) -> Probability:
    """Probability (H, W) of a photo from tiles at its own resolution.

    Where tiles overlap, each counts by its distance from its own border, so that no seam shows (ours). A photo that is
    smaller than a tile is continued by its mirror image.

    Args:
        photo: (H, W, 3) uint8.
        side: of the square tiles in pixels.
        localize: gives each tile (side, side, 3) its probability (side, side).
        batch_size: tiles at once.
    """
    height, width = photo.shape[:2]
    missing = (max(0, side - height), max(0, side - width))
    whole = np.pad(photo, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric") if any(missing) else photo
    total: Probability = np.zeros(whole.shape[:2], np.float32)
    ramp = _ramp(side)
    corners = [(y, x) for y in starts(whole.shape[0], side) for x in starts(whole.shape[1], side)]
    for some in _groups(corners, batch_size):
        tiles = [np.ascontiguousarray(whole[y : y + side, x : x + side]) for y, x in some]
        for (y, x), probability in zip(some, localize(tiles), strict=True):
            total[y : y + side, x : x + side] += probability * ramp[:, None] * ramp
    for axis, length in enumerate(whole.shape[:2]):  # tiles stand in a grid, so their weights are products
        weights = np.zeros(length, np.float32)
        for start in starts(length, side):
            weights[start : start + side] += ramp
        total /= np.expand_dims(weights, 1 - axis)
    return np.clip(total[:height, :width], 0, 1)


def starts(length: int, side: int) -> list[int]:
    """Where tiles begin along ``length`` ≥ ``side`` pixels: evenly, the last at the end, `OVERLAP` shared or more."""
    step = side - int(np.ceil(side * OVERLAP))
    gaps = -(-(length - side) // max(1, step))
    return [round(i * (length - side) / gaps) for i in range(gaps + 1)] if gaps else [0]


def _ramp(side: int) -> NDArray[np.float32]:
    """Weight along a tile: one over its middle, falling to the borders over what tiles share, never zero."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    return np.minimum(1, distance / (side * OVERLAP + 1)).astype(np.float32)


def _groups(corners: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    for first in range(0, len(corners), size):
        yield corners[first : first + size]
