"""What a coarse box says for certain: nothing outside it is manipulated, and the region inside reaches its sides."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def outside_per_image(logits: Tensor, box_mask: Tensor) -> Tensor:
    """Binary cross-entropy towards authentic, averaged over the pixels outside every box (ours).

    An authentic image has no box, so all of it counts; where boxes cover an image the term is 0.

    Args:
        logits: (B, 1, H, W).
        box_mask: (B, 1, H, W), 1 inside any box.

    Returns:
        (B,), at least 0.
    """
    outside = 1 - box_mask
    return (F.softplus(logits.float()) * outside).sum((1, 2, 3)) / outside.sum((1, 2, 3)).clamp(min=1)


def tightness_per_image(logits: Tensor, box_mask: Tensor, tightness_margin: float = 0.15) -> Tensor:
    """−log of the largest probability on each line that crosses a box, averaged over lines (box tightness prior).

    A region that touches all four sides of its tight box meets every row and every column of the box, so the largest
    probability on each should be 1 (Hsu et al., Weakly Supervised Instance Segmentation using the Bounding Box
    Tightness Prior, NeurIPS 2019; BoxInst projects in the same way). Coarse boxes are loose, so rows within
    ``tightness_margin`` of the top and bottom say nothing, nor do columns within it of the left and right (ours). Nor
    does a box that touches the image's border, because a crop may have cut the region off it.

    Lines are the runs of ``box_mask``: boxes that overlap were merged, so a run crosses one box. A merged box whose
    regions leave a gap between them is taken for one region.

    Args:
        logits: (B, 1, H, W).
        box_mask: (B, 1, H, W), 1 inside any box.
        tightness_margin: share of the box's side, in [0, 0.5); 0.15 is as loose as this project draws boxes.

    Returns:
        (B,), at least 0; 0 for an image without a box that says something.
    """
    inside = box_mask[:, 0] > 0
    rows, columns = _runs(inside), _runs(inside.mT)
    whole = inside & ~rows.cut & ~columns.cut.mT
    across = _misses(logits[:, 0], rows, whole & (columns.depth.mT >= tightness_margin))
    down = _misses(logits[:, 0].mT, columns, whole.mT & (rows.depth.mT >= tightness_margin))
    missed, lines = (one + other for one, other in zip(across, down, strict=True))
    return missed / lines.clamp(min=1)


class _Runs(NamedTuple):
    """Horizontal runs of pixels inside a box, told at each of their pixels; all (B, H, W).

    Attributes:
        start: column where the run starts; without meaning outside.
        depth: distance of the pixel's centre to the nearer end, as a share of the run's length.
        cut: the run reaches the image's border.
    """

    start: Tensor
    depth: Tensor
    cut: Tensor


def _runs(inside: Tensor) -> _Runs:
    width = inside.shape[-1]
    column = torch.arange(width, device=inside.device).expand(inside.shape)
    start = torch.where(inside, 0, column + 1).cummax(-1).values  # one past the last pixel outside
    end = torch.where(inside, width, column).flip(-1).cummin(-1).values.flip(-1)
    nearer = torch.minimum(column - start, end - 1 - column) + 0.5
    return _Runs(start, nearer / (end - start).clamp(min=1), (start == 0) | (end == width))


def _misses(logits: Tensor, runs: _Runs, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of −log of the runs' peaks over the runs that hold counted pixels, and how many there are; both (B,)."""
    lowest = torch.full_like(logits, -torch.inf, dtype=torch.float32)
    at_start = runs.start.where(counted, 0)  # a run's peak is gathered where it starts
    peaks = lowest.scatter_reduce(-1, at_start, logits.float().where(counted, -torch.inf), "amax")
    found = peaks > -torch.inf
    return F.softplus(-peaks.where(found, 0)).where(found, 0).sum((1, 2)), found.sum((1, 2))
