"""Coarse boxes derived from a ground-truth mask, such as a person would draw; deterministic for each image."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boxpromptiml.core.boxes import Boxes, BoxMode, boxes_from_mask
from boxpromptiml.core.limits import Seed, Share, ShareBelowOne, check_fields
from boxpromptiml.core.records import InputError
from boxpromptiml.images import Mask


@dataclass(frozen=True, slots=True)
class Drawing:
    """Parameters for deriving boxes from masks.

    Attributes:
        looseness: largest outward move of a side, as a fraction of the box's width or height.
        looseness_min: smallest outward move of a side.
        mode: ``region`` for a box around each manipulated region, ``image`` for one box around all of them.
        min_area: area of the smallest region that gets its own box, as a fraction of the image.
        seed: of the random looseness.

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

    def boxes(self, mask: Mask, image: Path) -> Boxes:
        """Return (N, 4) boxes (XYXY) around an (H, W) bool mask, random by the seed and the image's name."""
        rng = np.random.default_rng([self.seed, zlib.crc32(image.stem.encode())])
        return boxes_from_mask(mask, rng, self.looseness, self.min_area, self.mode, self.looseness_min)
