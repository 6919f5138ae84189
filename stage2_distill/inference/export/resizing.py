"""Resizing as in `boxpromptiml.images`, with operators that can be exported."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PRECISION = 1 << 22
"""Pillow's weights are integers with this sum."""


def shrink_photo(photo: Tensor, side: int) -> Tensor:
    """Resize photos (B, H, W, 3) uint8 to (B, 3, side, side) float with exactly the values of `images.resize_photo`.

    As in Pillow's Resample.c, the width is resized first, weights are integers, and each pass rounds to integers. All
    intermediate values are integers that floats represent exactly, because many sums lie exactly between two levels.
    """
    across = _pass(photo.permute(2, 0, 1, 3), side)
    return _pass(across.permute(2, 1, 0, 3), side).permute(1, 3, 0, 2).float()


def resize_probability(probability: Tensor, height: int, width: int) -> Tensor:
    """Resize maps (B, 1, side, side) to (B, 1, height, width) like `images.resize_probability`."""
    down, across = (_shares(length, probability.shape[-1]) for length in (height, width))
    return F.linear(F.linear(probability.mT, down).mT, across)


def _pass(levels: Tensor, side: int) -> Tensor:
    """Resize levels (n, …) in [0, 255] to (side, …) uint8 with Pillow's triangle filter, antialiased when shrinking."""
    n, rest = levels.shape[0], levels.shape[1:]
    reach = (n + side - 1) // side
    twice_centre = n * (2 * torch.arange(side)[:, None] + 1)
    old = twice_centre // (2 * side) + torch.arange(2 * reach + 1) - reach
    triangle = 2 * torch.full((), n, dtype=torch.int64).clamp(min=side) - ((2 * old + 1) * side - twice_centre).abs()
    triangle = triangle.clamp(min=0) * ((old >= 0) & (old < n))
    total = triangle.sum(1, keepdim=True)
    weights = (2 * PRECISION * triangle + total) // (2 * total)
    digits = torch.stack([weights // 65536, weights // 256 % 256, weights % 256], 1).float()
    inside = old.clamp(min=0).minimum(torch.full((), n - 1, dtype=torch.int64)).flatten()
    taken = levels.reshape(n, -1).index_select(0, inside).reshape(side, 2 * reach + 1, -1)
    sums = (digits @ taken.float()).int()
    rounded = (65536 * sums[:, 0] + 256 * sums[:, 1] + sums[:, 2] + PRECISION // 2) // PRECISION
    return rounded.to(torch.uint8).reshape(side, *rest)


def _shares(new: int, old: int) -> Tensor:
    """Weights (new, old) of old pixels in new ones: area average when shrinking, linear interpolation when growing."""
    start, pixel = torch.arange(new)[:, None] * old, torch.arange(old)
    overlap = torch.minimum(start + old, (pixel + 1) * new) - torch.maximum(start, pixel * new)
    centre = ((2 * start + old).float() / (2 * new) - 0.5).clamp(0, old - 1)
    linear = 1 - (pixel - centre).abs()
    return torch.where(torch.full((), new, dtype=torch.int64) < old, overlap.float() / old, linear).clamp(min=0)
