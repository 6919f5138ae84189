"""The distillation loss: the student's map against the teacher's pseudo-mask, with optional terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from boxpromptiml.core.limits import NotNegative, ShareBelowHalf, within_limits
from stage2_distill.losses.box_prior import outside_per_image, tightness_per_image


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

    It does not depend on the size of the region, so small regions are not dominated by background as with BCE alone.
    Without a region, as in authentic images, it is 0 (ours): it would be close to 1 for any prediction that marks
    anything at all, and would lower all logits.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) in [0, 1].

    Returns:
        (B,) in [0, 1].
    """
    probability = torch.sigmoid(logits.float())
    both = (probability * target).sum((1, 2, 3))
    region = target.sum((1, 2, 3))
    return (1 - (2 * both + 1) / (probability.sum((1, 2, 3)) + region + 1)) * (region > 0)


def focal_per_image(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss −(1 − p_t)^γ log p_t averaged over the pixels of each image (Lin et al., ICCV 2017), no α-balancing.

    Well-classified pixels are down-weighted, so the many easy background pixels do not dominate.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) in [0, 1].
        gamma: focusing parameter; 0 gives binary cross-entropy.

    Returns:
        (B,), at least 0.
    """
    return sigmoid_focal_loss(logits.float(), target, alpha=-1, gamma=gamma).mean((1, 2, 3))


class DistillationLoss(nn.Module):
    """Weighted sum of loss terms, averaged over images by sample weight. All terms except BCE are our additions.

    Args:
        bce: weight of binary cross-entropy; 1 with all others 0 is the paper's loss.
        dice: weight of the Dice term.
        focal: weight of the focal term.
        focal_gamma: focusing parameter, which down-weights well-classified pixels.
        outside: weight of the cross-entropy over pixels outside all boxes, which are certainly authentic.
        tightness: weight of the term that requires lines through a box to intersect the manipulated region.
        tightness_margin: fraction of a box's side, at each end, whose lines may miss the region because boxes are
            loose. Unrelated to the margin of `boxpromptiml pseudomasks`.

    Raises:
        InputError: a weight is negative, or ``tightness_margin`` is out of range.
    """

    @within_limits
    def __init__(
        self,
        bce: NotNegative = 1.0,
        dice: NotNegative = 0.0,
        focal: NotNegative = 0.0,
        focal_gamma: NotNegative = 2.0,
        outside: NotNegative = 0.0,
        tightness: NotNegative = 0.0,
        tightness_margin: ShareBelowHalf = 0.15,
    ) -> None:
        super().__init__()
        self.bce = bce
        self.dice = dice
        self.focal = focal
        self.focal_gamma = focal_gamma
        self.outside = outside
        self.tightness = tightness
        self.tightness_margin = tightness_margin

    def terms(self, logits: Tensor, target: Tensor, box_mask: Tensor, unweighted: bool = False) -> dict[str, Tensor]:
        """Compute the unweighted terms of the loss by name, each (B,).

        Args:
            logits: (B, 1, H, W), the student's.
            target: (B, 1, H, W) in [0, 1], the teacher's mask.
            box_mask: (B, 1, H, W), 1 inside any box.
            unweighted: also compute terms whose weight is 0.
        """
        every: dict[str, Callable[[], Tensor]] = {
            "bce": lambda: bce_per_image(logits, target),
            "dice": lambda: dice_per_image(logits, target),
            "focal": lambda: focal_per_image(logits, target, self.focal_gamma),
            "outside": lambda: outside_per_image(logits, box_mask),
            "tightness": lambda: tightness_per_image(logits, box_mask, self.tightness_margin),
        }
        return {name: term() for name, term in every.items() if unweighted or name == "bce" or getattr(self, name)}

    def total(self, terms: Mapping[str, Tensor], weight: Tensor, divisor: Tensor | None = None) -> Tensor:
        """Combine the terms to a scalar loss.

        Args:
            terms: as returned by `terms`.
            weight: (B,) sample weights.
            divisor: divisor of the weighted sum; by default the sum of the sample weights. With the mean of that sum
                over all processes, distributed training equals training in one process.
        """
        loss = self.bce * terms["bce"]
        for name in ("dice", "focal", "outside", "tightness"):
            if factor := getattr(self, name):
                loss = loss + factor * terms[name]
        return (loss * weight).sum() / (weight.sum() if divisor is None else divisor).clamp(min=1e-6)

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor, box_mask: Tensor, divisor: Tensor | None = None
    ) -> Tensor:
        """Compute the terms and combine them; see `terms` and `total`."""
        return self.total(self.terms(logits, target, box_mask), weight, divisor)
