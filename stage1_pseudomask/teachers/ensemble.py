"""Ensemble of a teacher's masks over jittered boxes, which simulate the differences between annotators (ours)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from boxpromptiml.core.boxes import Boxes, clip
from boxpromptiml.core.limits import Limit, within_limits
from boxpromptiml.images import Photo
from stage1_pseudomask.teachers import Candidates, Size, Teacher

if TYPE_CHECKING:  # slow imports that a complete cache does not need
    import torch
    from torch import Tensor

MOVES = np.array(
    [
        (0, 0, 0, 0),  # unchanged
        *((-1, -1, 1, 1), (1, 1, -1, -1)),  # larger, smaller
        *((-1, 1, 1, -1), (1, -1, -1, 1)),  # wider and lower, narrower and higher
        *((-1, -1, -1, -1), (1, 1, 1, 1), (-1, 1, -1, 1), (1, -1, 1, -1)),  # shifted
    ],
    np.float32,
)
"""(9, 4) directions of x1, y1, x2, y2; fewer copies use the first ones. In the first 5, as in all 9, each side moves
inwards as often as outwards; in all 9 the moves of any two sides are also uncorrelated."""
Copies = Annotated[int, Limit(f"a whole number from 2 to {len(MOVES)}", least=2, most=len(MOVES), whole=True)]
Jitter = Annotated[float, Limit("a share above 0, below 0.5", least=0, most=0.5, above=True, below=True, share=True)]


class JitterEnsemble(Teacher):
    """Mean of a teacher's masks for a box and for copies of it with moved sides.

    What the copies have in common does not depend on the exact position of the box. The score is their agreement: the
    mean IoU of each copy's mask with the mean mask, binarized at probability 0.5. Photos are embedded only once, so
    with Segment Anything only the small decoder runs more often; GrabCut takes ``copies`` times as long.

    Args:
        teacher: the underlying teacher.
        copies: number of boxes used per box, including itself, 2 to 9.
        jitter: how far each side is moved, as a fraction of the box's width or height, in (0, 0.5).
    """

    @within_limits
    def __init__(self, teacher: Teacher, copies: Copies = 5, jitter: Jitter = 0.1) -> None:
        self.teacher = teacher
        self.copies = copies
        self.jitter = jitter

    @property
    def name(self) -> str:
        """Name of the teacher with ``_ensemble`` appended."""
        return f"{self.teacher.name}_ensemble"

    @property
    def weights_sha256(self) -> str:  # type: ignore[override]  # computed on first access
        """SHA-256 of the teacher's weights."""
        return self.teacher.weights_sha256

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the teacher, and the two of the ensemble."""
        return {**self.teacher.settings, "copies": self.copies, "jitter": self.jitter}

    def preparation(self) -> Callable[[Photo], Photo]:
        """Return the teacher's resize function."""
        return self.teacher.preparation()

    def load(self, device: torch.device) -> None:
        """Load the teacher."""
        self.teacher.load(device)

    def embed(self, photos: Sequence[Photo]) -> Any:
        """Embed photos with the teacher, once for all copies."""
        return self.teacher.embed(photos)

    def propose(self, embedding: Any, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """Propose one candidate per box: the mean of the best candidates of its copies."""
        copies = [self.moved(image_boxes, frame) for image_boxes, frame in zip(boxes, frames, strict=True)]
        return [self._consensus(proposed) for proposed in self.teacher.propose(embedding, copies, frames)]

    def moved(self, boxes_xyxy: Boxes, frame: Size) -> Boxes:
        """Jitter (N, 4) boxes to (N · copies, 4), the copies of a box in succession, clipped to the frame."""
        sides = np.tile(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 2)
        moved = boxes_xyxy[:, None] + self.jitter * sides[:, None] * MOVES[: self.copies]
        return clip(moved.reshape(-1, 4).astype(np.float32), *frame)

    def _consensus(self, proposed: Candidates) -> Candidates:
        import torch

        probability, scores = torch.as_tensor(proposed.probability), torch.as_tensor(proposed.scores)
        height, width = probability.shape[2:]
        best = probability[torch.arange(len(scores), device=scores.device), scores.argmax(1)]
        copies = best.view(-1, self.copies, height, width)
        mean = copies.mean(1, keepdim=True)
        return Candidates(mean, _iou(copies > 0.5, mean > 0.5).mean(1, keepdim=True))


def _iou(masks: Tensor, reference: Tensor) -> Tensor:
    """IoU of (N, K, H, W) and (N, 1, H, W) bool as (N, K); 0 if both are empty, for lack of a region to agree on."""
    union = (masks | reference).sum((2, 3))
    return (masks & reference).sum((2, 3)) / union.clamp(min=1)
