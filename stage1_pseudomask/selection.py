"""From a teacher's candidates to one pseudo-mask for an image, on the device where the candidates are."""

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
"""What the best candidate is selected by: the teacher's own score, or `quality`."""


def select(
    candidates: Candidates, boxes_xyxy: Boxes, margin: float, select_by: SelectBy = "score"
) -> tuple[Tensor, Tensor]:
    """Best candidate of each box, cut to the box and its margin, united over the boxes.

    A loose box can pull a teacher towards the background, so nothing outside the margin counts; a box of which nothing
    is left counts whole, because its annotator saw something there.

    Args:
        candidates: for the N boxes of one image.
        boxes_xyxy: (N, 4) corner boxes in the frame of the candidates.
        margin: how far a mask may reach over each side of its box, as a share of the box.
        select_by: what the best candidate is selected by.

    Returns:
        The (H, W) float32 pseudo-mask in [0, 1], the largest probability where boxes overlap, and an (N,) float32 score
        in [0, 1] for each box: what the candidate was chosen by, or 0 for a box that counts whole.
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

    Stability is that of Segment Anything's automatic masks, the IoU of the mask cut at logit +1 and at logit -1. Fit is
    the IoU of the box around the mask and the box that was asked about; it suits boxes that are not very loose.

    Args:
        probability: (N, C, H, W) candidates.
        scores: (N, C) the teacher's own.
        boxes_xyxy: (N, 4) corner boxes in their frame.

    Returns:
        (N, C) in [0, 1]; 0 for a mask without a pixel.
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
    """An (H, W) pseudo-mask in [0, 1] as a shard holds it: (S, S) uint8, probability × 255.

    Each side shrinks or grows on its own; see ``images.resize_tensor``.
    """
    return (resize_tensor(pseudo_mask, size, size).clamp(0, 1) * 255).round().to(torch.uint8)


def _inside(boxes_xyxy: Boxes, height: int, width: int, device: torch.device) -> Tensor:
    """(N, H, W) bool: the pixels that each box touches, as ``boxes.rasterize`` counts them."""
    clipped = clip(boxes_xyxy, width, height)
    corners = np.concatenate([np.floor(clipped[:, :2]), np.ceil(clipped[:, 2:])], axis=1)
    x1, y1, x2, y2 = torch.from_numpy(corners).to(device, non_blocking=True).T[..., None]
    x, y = torch.arange(width, device=device), torch.arange(height, device=device)
    return ((y >= y1) & (y < y2))[:, :, None] & ((x >= x1) & (x < x2))[:, None, :]


def _boxes_around(masks: Tensor) -> Tensor:
    """(N, C, H, W) bool to (N, C, 4) float32 corner boxes; an empty mask has one of no area."""
    corners = []
    for axis in (2, 3):  # columns, then rows
        filled = masks.any(axis)
        first, behind = filled.int().argmax(-1), filled.shape[-1] - filled.flip(-1).int().argmax(-1)
        corners.append((first, torch.where(filled.any(-1), behind, first)))
    (x1, x2), (y1, y2) = corners
    return torch.stack([x1, y1, x2, y2], dim=-1).float()
