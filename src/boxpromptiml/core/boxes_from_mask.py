"""Coarse boxes derived from a ground-truth mask, such as a person would draw."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.boxes import Boxes, as_boxes, loosen, merge_overlapping, xywh_to_xyxy
from boxpromptiml.core.limits import Seed, Share, ShareBelowOne, check_fields
from boxpromptiml.core.records import InputError

BoxMode = Literal["region", "image"]


def boxes_from_mask(
    mask: NDArray[np.bool_],
    rng: np.random.Generator,
    looseness: float = 0.15,
    min_area: float = 0.0005,
    mode: BoxMode = "region",
    looseness_min: float = 0.0,
) -> Boxes:
    """Derive coarse boxes from a mask, such as a person would draw around the manipulated regions.

    Each connected region above a minimum area gets a box whose sides are loosened at random; overlapping boxes are
    merged. If all regions are below the minimum, all of them get a box, so a non-empty mask always has one.

    Args:
        mask: (H, W) bool, True = manipulated.
        rng: the only source of randomness.
        looseness: largest outward move of a side, as a fraction of the box's width or height.
        min_area: area of the smallest region that gets a box, as a fraction of the image.
        mode: ``region`` for one box per region, ``image`` for one box around all regions.
        looseness_min: smallest outward move of a side, as a fraction of the box's width or height.

    Returns:
        (N, 4) float32 boxes (XYXY); N is 0 only for an empty mask.
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


@dataclass(frozen=True, slots=True)
class Drawing:
    """Parameters for deriving boxes from masks.

    Attributes:
        looseness: largest outward move of a side, as a fraction of the box's width or height.
        looseness_min: smallest outward move of a side.
        mode: ``region`` for a box around each manipulated region, ``image`` for one box around all of them.
        min_area: area of the smallest region that gets its own box, as a fraction of the image.
        seed: seed of the random looseness.

    Raises:
        InputError: a value is out of range.
    """

    looseness: Share = 0.15
    looseness_min: Share = 0.0
    mode: BoxMode = "region"
    min_area: ShareBelowOne = 0.0005
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.looseness_min > self.looseness:
            raise InputError(
                f"looseness from {self.looseness_min:g} to {self.looseness:g}; use 0 ≤ looseness_min ≤ looseness"
            )

    def boxes(self, mask: NDArray[np.bool_], image: Path) -> Boxes:
        """Return (N, 4) boxes (XYXY) around an (H, W) bool mask, random by the seed and the image's name."""
        rng = np.random.default_rng([self.seed, zlib.crc32(image.stem.encode())])
        return boxes_from_mask(mask, rng, self.looseness, self.min_area, self.mode, self.looseness_min)
