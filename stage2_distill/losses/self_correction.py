"""Late self-correction: towards the end of training the student overrules its teacher inside the boxes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from boxpromptiml.core.limits import Share, hold_fields


@dataclass(frozen=True)  # without slots, which jsonargparse cannot read defaults from
class SelfCorrection:
    """How much of the target is the student's own decision instead of the teacher's mask (ours).

    Args:
        start: share of the training steps after which it begins.
        share: of the target at the last step, reached along a line; 0 switches it off.
    """

    start: Share = 0.5
    share: Share = 0.0

    def __post_init__(self) -> None:
        hold_fields(self, "correction.")

    def share_at(self, progress: float) -> float:
        """Share of the target in [0, 1] after ``progress`` in [0, 1] of the training steps."""
        return self.share * max(0.0, progress - self.start) / max(1 - self.start, 1e-6)


def corrected_target(target: Tensor, logits: Tensor, box_mask: Tensor, share: float) -> Tensor:
    """The teacher's mask, mixed inside the boxes with what the student decides at 0.5; outside it stays as it is.

    Decisions, not probabilities (hard bootstrapping: Reed et al., Training Deep Neural Networks on Noisy Labels with
    Bootstrapping, 2015), because the student's own probability as a target of cross-entropy only scales the gradient
    by 1 − share. No gradient flows through the target.

    Args:
        target: (B, 1, H, W) in [0, 1].
        logits: (B, 1, H, W), the student's.
        box_mask: (B, 1, H, W), 1 inside any box.
        share: of the student, in [0, 1].
    """
    if not share:
        return target
    decided = (logits.detach() > 0).to(target.dtype)
    return target + share * box_mask * (decided - target)
