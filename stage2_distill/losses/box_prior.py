"""Losses from coarse boxes: pixels outside are authentic, and the region inside extends to all sides of its box."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def outside_per_image(logits: Tensor, box_mask: Tensor) -> Tensor:
    """Binary cross-entropy against authentic, averaged over the pixels outside all boxes (ours).

    For an authentic image, which has no boxes, all pixels count; if boxes cover the whole image the loss is 0.

    Args:
        logits: (B, 1, H, W).
        box_mask: (B, 1, H, W), 1 inside any box.

    Returns:
        (B,), at least 0.
    """
    outside = 1 - box_mask
    return (F.softplus(logits.float()) * outside).sum((1, 2, 3)) / outside.sum((1, 2, 3)).clamp(min=1)


def tightness_per_image(logits: Tensor, box_mask: Tensor, tightness_margin: float = 0.15) -> Tensor:
    """−log of the largest probability on each line through a box, averaged over lines (box tightness prior).

    A region that touches all four sides of its tight box intersects every row and every column of the box, so the
    largest probability on each should be 1 (Hsu et al., Weakly Supervised Instance Segmentation using the Bounding Box
    Tightness Prior, NeurIPS 2019; similar to BoxInst's projection loss). Coarse boxes are loose, so rows within
    ``tightness_margin`` of the top and bottom and columns within it of the left and right are ignored (ours). So are
    boxes that touch the image's border, because a crop may have removed part of the region.

    Lines are runs in ``box_mask``: overlapping boxes were merged, so a run crosses one box. The regions of a merged box
    are treated as one region, even if there is a gap between them.

    Args:
        logits: (B, 1, H, W).
        box_mask: (B, 1, H, W), 1 inside any box.
        tightness_margin: fraction of the box's side, in [0, 0.5); 0.15 is the default looseness of this project's
            boxes.

    Returns:
        (B,), at least 0; 0 for an image without usable boxes.
    """
    inside = box_mask[:, 0] > 0
    rows, columns = _runs(inside), _runs(inside.mT)
    whole = inside & ~rows.cut & ~columns.cut.mT
    across = _misses(logits[:, 0], rows, whole & (columns.depth.mT >= tightness_margin))
    down = _misses(logits[:, 0].mT, columns, whole.mT & (rows.depth.mT >= tightness_margin))
    missed, lines = (one + other for one, other in zip(across, down, strict=True))
    return missed / lines.clamp(min=1)


class _Runs(NamedTuple):
    """Horizontal runs of pixels inside a box, as values at each of their pixels; all (B, H, W).

    Attributes:
        start: column where the run starts; undefined outside boxes.
        depth: distance of the pixel's centre to the nearer end, as a fraction of the run's length.
        cut: whether the run touches the image's border.
    """

    start: Tensor
    depth: Tensor
    cut: Tensor


def _runs(inside: Tensor) -> _Runs:
    width = inside.shape[-1]
    column = torch.arange(width, device=inside.device).expand(inside.shape)
    start = torch.where(inside, 0, column + 1).cummax(-1).values  # one after the last pixel outside
    end = torch.where(inside, width, column).flip(-1).cummin(-1).values.flip(-1)
    nearer = torch.minimum(column - start, end - 1 - column) + 0.5
    return _Runs(start, nearer / (end - start).clamp(min=1), (start == 0) | (end == width))


def _misses(logits: Tensor, runs: _Runs, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Sum −log of the runs' maxima over the runs with counted pixels, and count these runs; both (B,)."""
    lowest = torch.full_like(logits, -torch.inf, dtype=torch.float32)
    at_start = runs.start.where(counted, 0)  # a run's maximum is stored at its first pixel
    peaks = lowest.scatter_reduce(-1, at_start, logits.float().where(counted, -torch.inf), "amax")
    found = peaks > -torch.inf
    return F.softplus(-peaks.where(found, 0)).where(found, 0).sum((1, 2)), found.sum((1, 2))
