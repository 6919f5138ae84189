"""Late self-correction: towards the end of training, the student's own prediction enters the target inside boxes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from boxpromptiml.core.limits import Share, check_fields


@dataclass(frozen=True)  # no slots, because jsonargparse could not read the defaults
class SelfCorrection:
    """Schedule for mixing the student's own prediction into the target (ours).

    Args:
        start: fraction of the training steps after which it begins.
        share: student's fraction of the target at the last step, reached linearly; 0 disables it.
    """

    start: Share = 0.5
    share: Share = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "correction.")

    def share_at(self, progress: float) -> float:
        """Return the student's fraction of the target at ``progress`` in [0, 1] of the training steps."""
        return self.share * max(0.0, progress - self.start) / max(1 - self.start, 1e-6)


def corrected_target(target: Tensor, logits: Tensor, box_mask: Tensor, share: float) -> Tensor:
    """Mix the teacher's mask inside the boxes with the student's prediction, binarized at 0.5.

    The prediction is binarized (hard bootstrapping: Reed et al., Training Deep Neural Networks on Noisy Labels with
    Bootstrapping, 2015), because with the student's own probability as target, cross-entropy would only scale the
    gradient by 1 − share. No gradient flows through the target.

    Args:
        target: (B, 1, H, W) in [0, 1].
        logits: (B, 1, H, W), the student's.
        box_mask: (B, 1, H, W), 1 inside any box.
        share: weight of the student's prediction, in [0, 1].
    """
    if not share:
        return target
    decided = (logits.detach() > 0).to(target.dtype)
    return target + share * box_mask * (decided - target)
