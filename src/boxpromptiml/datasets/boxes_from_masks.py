"""The coarse boxes that a person would draw, from a ground-truth mask; the same for everyone who asks."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boxpromptiml.core.boxes import Boxes, BoxMode, boxes_from_mask
from boxpromptiml.core.limits import Seed, Share, ShareBelowOne, hold_fields
from boxpromptiml.core.records import InputError
from boxpromptiml.images import Mask


@dataclass(frozen=True, slots=True)
class Drawing:
    """How boxes are drawn.

    Attributes:
        looseness: largest outward move of a box's side, as a share of the box.
        looseness_min: smallest outward move.
        mode: ``region`` for a box around each manipulated region, ``image`` for one around all of them.
        min_area: smallest region that gets a box of its own, as a share of the image.
        seed: of the looseness.

    Raises:
        InputError: a number has no meaning.
    """

    looseness: Share = 0.15
    looseness_min: Share = 0.0
    mode: BoxMode = "region"
    min_area: ShareBelowOne = 0.0005
    seed: Seed = 0

    def __post_init__(self) -> None:
        hold_fields(self)
        if self.looseness_min > self.looseness:
            raise InputError(
                f"looseness from {self.looseness_min:g} to {self.looseness:g}; use 0 ≤ looseness_min ≤ looseness"
            )

    def boxes(self, mask: Mask, image: Path) -> Boxes:
        """Boxes around an (H, W) bool mask, (N, 4) XYXY. They depend on the image's name, not on other images."""
        rng = np.random.default_rng([self.seed, zlib.crc32(image.stem.encode())])
        return boxes_from_mask(mask, rng, self.looseness, self.min_area, self.mode, self.looseness_min)
