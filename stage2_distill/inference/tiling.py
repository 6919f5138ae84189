"""Prediction at a photo's own resolution with overlapping, blended tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.images import Photo, Probability
from stage2_distill.inference.scored_map import ScoredMap

OVERLAP = 0.25
"""Minimum overlap of neighbouring tiles, as a fraction of their side."""


def localize_tiled(
    photo: Photo, side: int, localize: Callable[[list[Photo]], list[ScoredMap]], batch_size: int = 8
) -> ScoredMap:
    """Predict a map (H, W) from tiles at the photo's own resolution. The score is the largest score of a tile.

    Overlapping tiles are weighted by the distance from their border, so that no seams show (ours). A photo smaller than
    a tile is extended by reflection.

    Args:
        photo: (H, W, 3) uint8.
        side: side of the square tiles in pixels.
        localize: maps tiles (side, side, 3) to maps (side, side) with scores.
        batch_size: number of tiles per call.
    """
    height, width = photo.shape[:2]
    missing = (max(0, side - height), max(0, side - width))
    whole = np.pad(photo, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric") if any(missing) else photo
    total: Probability = np.zeros(whole.shape[:2], np.float32)
    score = 0.0
    ramp = _ramp(side)
    corners = [(y, x) for y in starts(whole.shape[0], side) for x in starts(whole.shape[1], side)]
    for some in _groups(corners, batch_size):
        tiles = [np.ascontiguousarray(whole[y : y + side, x : x + side]) for y, x in some]
        for (y, x), found in zip(some, localize(tiles), strict=True):
            total[y : y + side, x : x + side] += found.probability * ramp[:, None] * ramp
            score = max(score, found.score)
    for axis, length in enumerate(whole.shape[:2]):  # tiles form a grid, so their weights are separable
        weights = np.zeros(length, np.float32)
        for start in starts(length, side):
            weights[start : start + side] += ramp
        total /= np.expand_dims(weights, 1 - axis)
    return ScoredMap(np.clip(total[:height, :width], 0, 1), score)


def starts(length: int, side: int) -> list[int]:
    """Return the tile positions along ``length`` ≥ ``side`` pixels: evenly spaced, overlapping `OVERLAP` or more."""
    step = side - int(np.ceil(side * OVERLAP))
    gaps = -(-(length - side) // max(1, step))
    return [round(i * (length - side) / gaps) for i in range(gaps + 1)] if gaps else [0]


def _ramp(side: int) -> NDArray[np.float32]:
    """Return the weight along a tile: 1 in its middle, decreasing linearly over the overlap, never 0."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    return np.minimum(1, distance / (side * OVERLAP + 1)).astype(np.float32)


def _groups(corners: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    for first in range(0, len(corners), size):
        yield corners[first : first + size]
