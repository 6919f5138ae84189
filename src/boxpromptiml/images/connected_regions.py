"""Connected regions of a probability map as boxes and polygons, and COCO run-length encoding of masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.images import Mask, Probability

Polygon = list[tuple[int, int]]
"""Vertices (x, y) in pixels of a closed polygon; 0 is the left or upper edge of the first pixel."""


@dataclass(frozen=True, slots=True)
class Region:
    """A connected region (8-connectivity) of pixels above the threshold.

    Attributes:
        box_xyxy: tight box in pixels.
        score: largest probability inside, in [0, 1].
        area: number of pixels.
        outline: outer border.
        holes: borders of the holes.
    """

    box_xyxy: tuple[int, int, int, int]
    score: float
    area: int
    outline: Polygon
    holes: list[Polygon]


def find_regions(
    probability: Probability, threshold: float = 0.5, min_area: float = 0.0005, tolerance: float = 1.0
) -> list[Region]:
    """Find the connected regions of an (H, W) probability map above a threshold, the largest first.

    Args:
        probability: probability map with values in [0, 1].
        threshold: pixels strictly above it belong to a region.
        min_area: smallest area of a region as a fraction of the image; if no region reaches it, all are returned.
        tolerance: largest deviation in pixels when polygons are simplified; 0 keeps them exact.
    """
    mask = (probability > threshold).view(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)  # usually a small part of the photo
    if width == 0:
        return []
    part = np.s_[top : top + height, left : left + width]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask[part], connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    found = 1 + np.flatnonzero(areas[1:] >= min_area * mask.size)  # 0 is the background
    found = found if len(found) else np.arange(1, len(areas))
    regions = []
    for label in found[np.argsort(-areas[found], kind="stable")].tolist():
        x, y, width, height, area = stats[label].tolist()
        window = np.s_[y : y + height, x : x + width]
        inside = (labels[window] == label).view(np.uint8)
        score = cv2.minMaxLoc(probability[part][window], inside)[1]
        outline, holes = _borders(inside, (left + x, top + y), tolerance)
        regions.append(Region((left + x, top + y, left + x + width, top + y + height), score, area, outline, holes))
    return regions


def run_lengths(mask: Mask) -> dict[str, list[int] | str]:
    """Encode an (H, W) bool mask as COCO's compressed run lengths (``size`` and ``counts``), as pycocotools reads them.

    Runs follow the columns and begin with False; each is stored as the difference from the run two before it, in groups
    of five bits.
    """
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0] if flat[0] else np.zeros(0, int), [0], ends, [flat.size]])).tolist()
    text = bytearray()
    for position, count in enumerate(counts):
        rest = count - counts[position - 2] if position > 2 else count
        while True:
            bits, rest = rest & 31, rest >> 5
            done = rest == (-1 if bits & 16 else 0)
            text.append(48 + bits + (0 if done else 32))
            if done:
                break
    return {"size": list(mask.shape), "counts": text.decode()}


def _borders(inside: NDArray[np.uint8], corner: tuple[int, int], tolerance: float) -> tuple[Polygon, list[Polygon]]:
    # OpenCV traces contours through pixel centres. On a mask of twice the size the contour follows the edges between
    # the
    # original pixels, and (p + 1) // 2 maps a pixel of that mask to its edge.
    doubled = cv2.resize(inside, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    walks = [_corners((np.asarray(contour[:, 0], np.int32) + 1) // 2, tolerance) for contour in contours]
    polygons: list[Polygon] = [[(int(x + corner[0]), int(y + corner[1])) for x, y in walk] for walk in walks]
    outer = [polygon for polygon, (*_, parent) in zip(polygons, hierarchy[0], strict=True) if parent < 0]
    holes = [polygon for polygon, (*_, parent) in zip(polygons, hierarchy[0], strict=True) if parent >= 0]
    return outer[0], holes


def _corners(points: NDArray[np.int32], tolerance: float) -> NDArray[np.int32]:
    """Reduce an (N, 2) closed contour to its vertices, simplified within the tolerance."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    points = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    if tolerance <= 0:
        return points
    fewer = np.asarray(cv2.approxPolyDP(points[:, None], tolerance, closed=True)[:, 0], np.int32)
    return fewer if len(fewer) > 2 else points
