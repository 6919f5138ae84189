"""Selection of one pseudo-mask per image from the teacher's candidates, on their device."""

from __future__ import annotations

from math import exp
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from boxpromptiml.core.boxes import Boxes, clip, with_margin
from boxpromptiml.images import resize_tensor
from stage1_pseudomask.teachers import Candidates

SelectBy = Literal["score", "quality"]
"""Criterion for the best candidate: the teacher's own score, or `quality`."""


def select(
    candidates: Candidates, boxes_xyxy: Boxes, margin: float, select_by: SelectBy = "score"
) -> tuple[Tensor, Tensor]:
    """Select the best candidate of each box, restrict it to the box plus margin, and merge the masks of all boxes.

    A loose box can make a teacher include background, so everything outside the margin is dropped. If nothing is left
    in a box, the whole box counts, because its annotator saw something there.

    Args:
        candidates: candidate masks for the N boxes of one image.
        boxes_xyxy: (N, 4) boxes in the frame of the candidates.
        margin: how far a mask may extend beyond each side of its box, as a fraction of the box.
        select_by: criterion for the best candidate.

    Returns:
        The (H, W) float32 pseudo-mask in [0, 1] (the maximum where boxes overlap), and an (N,) float32 score in [0, 1]
        for each box: the value of the criterion, or 0 if the whole box counts.
    """
    probability, scores = torch.as_tensor(candidates.probability), torch.as_tensor(candidates.scores)
    count, _, height, width = probability.shape
    if not count:
        return probability.new_zeros((height, width)), scores.new_zeros(0)
    if select_by == "quality":
        scores = quality(probability, scores, boxes_xyxy)
    best, box = scores.argmax(1), torch.arange(count, device=scores.device)
    reach = _inside(with_margin(boxes_xyxy, margin, width, height), height, width, scores.device)
    masks = probability[box, best] * reach
    found = masks.amax((1, 2)) > 0.5
    whole = _inside(boxes_xyxy, height, width, scores.device)
    masks = torch.where(found[:, None, None], masks, whole.to(masks.dtype))
    return masks.amax(0), scores[box, best] * found


def quality(probability: Tensor, scores: Tensor, boxes_xyxy: Boxes) -> Tensor:
    """Score × stability × fit of every candidate; the product is ours.

    Stability is that of Segment Anything's automatic mask generator, the IoU of the masks thresholded at logits +1 and
    -1. Fit is the IoU of the mask's bounding box with the prompt box; it is suited to boxes that are not very loose.

    Args:
        probability: (N, C, H, W) candidates.
        scores: (N, C) the teacher's own.
        boxes_xyxy: (N, 4) prompt boxes in the candidates' frame.

    Returns:
        (N, C) in [0, 1]; 0 for an empty mask.
    """
    surely, perhaps = ((probability > 1 / (1 + exp(-logit))).sum((2, 3)) for logit in (1, -1))
    stability = surely / perhaps.clamp(min=1)
    found, asked = _boxes_around(probability > 0.5), torch.as_tensor(boxes_xyxy, device=scores.device)[:, None]
    common = (
        torch.minimum(found[..., 2:], asked[..., 2:]) - torch.maximum(found[..., :2], asked[..., :2])
    ).clamp(min=0).prod(-1)  # fmt: skip
    union = sum((box[..., 2:] - box[..., :2]).prod(-1) for box in (found, asked)) - common
    return scores * stability * common / union


def stored(pseudo_mask: Tensor, size: int) -> Tensor:
    """Convert an (H, W) pseudo-mask in [0, 1] to the format of shards: (S, S) uint8, probability × 255.

    The aspect ratio is not kept; see ``images.resize_tensor``.
    """
    return (resize_tensor(pseudo_mask, size, size).clamp(0, 1) * 255).round().to(torch.uint8)


def _inside(boxes_xyxy: Boxes, height: int, width: int, device: torch.device) -> Tensor:
    """Return (N, H, W) bool: the pixels touched by each box, as in ``boxes.rasterize``."""
    clipped = clip(boxes_xyxy, width, height)
    corners = np.concatenate([np.floor(clipped[:, :2]), np.ceil(clipped[:, 2:])], axis=1)
    x1, y1, x2, y2 = torch.from_numpy(corners).to(device, non_blocking=True).T[..., None]
    x, y = torch.arange(width, device=device), torch.arange(height, device=device)
    return ((y >= y1) & (y < y2))[:, :, None] & ((x >= x1) & (x < x2))[:, None, :]


def _boxes_around(masks: Tensor) -> Tensor:
    """Return the bounding boxes of (N, C, H, W) bool masks as (N, C, 4) float32, of zero area for an empty mask."""
    corners = []
    for axis in (2, 3):  # columns, then rows
        filled = masks.any(axis)
        first, behind = filled.int().argmax(-1), filled.shape[-1] - filled.flip(-1).int().argmax(-1)
        corners.append((first, torch.where(filled.any(-1), behind, first)))
    (x1, x2), (y1, y2) = corners
    return torch.stack([x1, y1, x2, y2], dim=-1).float()
