"""Which mask the student is taught with: the teacher's, or others that studies compare it with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.boxes import rasterize
from boxpromptiml.core.limits import Share, hold_fields
from boxpromptiml.core.records import InputError, Sample

GreyMask = NDArray[np.uint8]
GRID = 5
"""Points a side whose shifts are drawn; between them shifts are interpolated."""


@dataclass(frozen=True)
class Target:
    """What the student learns to answer.

    Args:
        source: pseudo_mask for the teacher's mask; truth for the ground truth, an upper bound that needs masks; boxes
            for the bare boxes, what the teacher has to beat.
        displaced: the target's outlines are moved by a smooth random field of this standard deviation, as a share of
            the side; the same in every epoch, as a teacher's mistakes are. 0 for none.
    """

    source: Literal["pseudo_mask", "truth", "boxes"] = "pseudo_mask"
    displaced: Share = 0.0

    def __post_init__(self) -> None:
        hold_fields(self, "target.")


def training_mask(sample: Sample, target: Target) -> GreyMask:
    """The (S, S) uint8 mask, probability × 255, that a sample is taught with.

    Raises:
        InputError: the ground truth is asked for, and the sample has none.
    """
    mask = _of(sample, target.source)
    return displace(mask, target.displaced, sample.image_id) if target.displaced else mask


def displace(mask: GreyMask, sigma: float, seed: int) -> GreyMask:
    """A mask moved by a smooth random field.

    Args:
        mask: (H, W) uint8.
        sigma: standard deviation of the shifts, as a share of the longer side.
        seed: decides the field.
    """
    height, width = mask.shape
    shifts = np.random.default_rng(seed).normal(0, sigma * max(height, width), (GRID, GRID, 2))
    field = cv2.resize(shifts.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(mask, x + field[..., 0], y + field[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return moved.astype(np.uint8, copy=False)


def _of(sample: Sample, source: str) -> GreyMask:
    if source == "truth":
        if sample.truth is None and sample.authentic:
            return np.zeros_like(sample.pseudo_mask)
        if sample.truth is None:
            raise InputError(
                f"image {sample.image_id} of {sample.source or 'an unnamed source'} has no ground truth to learn from; "
                "set data.target.source to pseudo_mask, or give it a mask_file in the manifest"
            )
        if sample.truth_is_lost:
            raise InputError(
                f"image {sample.image_id} of {sample.source or 'an unnamed source'} is manipulated and its truth is "
                "empty; correct its mask and make the cache again, or set data.target.source to pseudo_mask"
            )
        return sample.truth
    if source == "boxes":
        side = sample.image.shape[0]
        return rasterize(sample.boxes_xyxy, side, side).view(np.uint8) * np.uint8(255)
    return sample.pseudo_mask
