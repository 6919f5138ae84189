"""Choice of the training target: the teacher's mask, or alternatives used in studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.boxes import rasterize
from boxpromptiml.core.limits import Share, check_fields
from boxpromptiml.core.records import InputError, Sample

GreyMask = NDArray[np.uint8]
GRID = 5
"""Random displacements are drawn on a grid of this many points per side and interpolated."""


@dataclass(frozen=True)
class Target:
    """The student's training target.

    Args:
        source: pseudo_mask for the teacher's mask; truth for the ground truth, an upper bound that needs masks; boxes
            for the bare boxes, a lower bound for the teacher.
        displaced: standard deviation of a smooth random displacement of the target's outlines, as a fraction of the
            side; the same in every epoch, like the errors of a teacher. 0 for none.
    """

    source: Literal["pseudo_mask", "truth", "boxes"] = "pseudo_mask"
    displaced: Share = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "target.")


def training_mask(sample: Sample, target: Target) -> GreyMask:
    """Return the training target of a sample, (S, S) uint8, probability × 255.

    Raises:
        InputError: the target is the ground truth, and the sample has none.
    """
    mask = _of(sample, target.source)
    return displace(mask, target.displaced, sample.image_id) if target.displaced else mask


def displace(mask: GreyMask, sigma: float, seed: int) -> GreyMask:
    """Warp a mask by a smooth random displacement field.

    Args:
        mask: (H, W) uint8.
        sigma: standard deviation of the displacements, as a fraction of the longer side.
        seed: random seed for the field.
    """
    height, width = mask.shape
    shifts = np.random.default_rng(seed % 2**64).normal(0, sigma * max(height, width), (GRID, GRID, 2))
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
        if sample.has_empty_truth:
            raise InputError(
                f"image {sample.image_id} of {sample.source or 'an unnamed source'} is manipulated, but its "
                "ground truth is empty; correct its mask and make the cache again, or set data.target.source to "
                "pseudo_mask"
            )
        return sample.truth
    if source == "boxes":
        side = sample.image.shape[0]
        return rasterize(sample.boxes_xyxy, side, side).view(np.uint8) * np.uint8(255)
    return sample.pseudo_mask
