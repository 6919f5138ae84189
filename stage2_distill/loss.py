"""What the student is taught with: its map against the teacher's pseudo-mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def bce_per_image(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy averaged over the pixels of each image: the paper's BCE(A_refined, teacher mask).

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) in [0, 1].

    Returns:
        (B,), at least 0.
    """
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))


def dice_per_image(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss 1 − (2 Σ pt + 1) / (Σ p + Σ t + 1) of each image (Milletari et al., V-Net, 2016).

    It does not shrink with the region, so small regions are not drowned by background as under BCE alone.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) in [0, 1].

    Returns:
        (B,) in [0, 1].
    """
    probability = torch.sigmoid(logits.float())
    both = (probability * target).sum((1, 2, 3))
    either = probability.sum((1, 2, 3)) + target.sum((1, 2, 3))
    return 1 - (2 * both + 1) / (either + 1)


class DistillationLoss(nn.Module):
    """Weighted sum of BCE and Dice, averaged over images by their weight.

    Args:
        bce: weight of binary cross-entropy; 1 with ``dice`` 0 is the paper's loss.
        dice: weight of the Dice term (ours).
    """

    def __init__(self, bce: float = 1.0, dice: float = 0.0) -> None:
        super().__init__()
        self.bce = bce
        self.dice = dice

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Scalar loss of logits (B, 1, H, W) against a target in [0, 1], with a weight (B,) for each image."""
        loss = self.bce * bce_per_image(logits, target)
        if self.dice:
            loss = loss + self.dice * dice_per_image(logits, target)
        return (loss * weight).sum() / weight.sum().clamp(min=1e-6)
