"""Any teacher asked several times, about boxes that differ as two annotators' would: a box jitter ensemble (ours)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from boxpromptiml.core.boxes import Boxes, clip
from boxpromptiml.core.limits import Limit, within_limits
from boxpromptiml.images import Photo
from stage1_pseudomask.teachers import Candidates, Size, Teacher

if TYPE_CHECKING:  # seconds to import, and a complete cache needs none of them
    import torch
    from torch import Tensor

MOVES = np.array(
    [
        (0, 0, 0, 0),  # as drawn
        *((-1, -1, 1, 1), (1, 1, -1, -1)),  # larger, smaller
        *((-1, 1, 1, -1), (1, -1, -1, 1)),  # wider and lower, narrower and higher
        *((-1, -1, -1, -1), (1, 1, 1, 1), (-1, 1, -1, 1), (1, -1, 1, -1)),  # elsewhere
    ],
    np.float32,
)
"""(9, 4) moves of x1, y1, x2, y2; fewer copies take the first. Over 5, as over 9, each side is moved in as often as
out; over 9 also every two sides as often the same way as not."""
Copies = Annotated[int, Limit(f"a whole number from 2 to {len(MOVES)}", least=2, most=len(MOVES), whole=True)]
Jitter = Annotated[float, Limit("a share above 0, below 0.5", least=0, most=0.5, above=True, below=True, share=True)]


class JitterEnsemble(Teacher):
    """The mean of a teacher's masks for a box and for copies of it with moved sides.

    What the copies agree on does not hang on where the annotator happened to let go of the mouse. Their agreement is
    the score: the mean IoU of each copy's mask with the consensus, at probability above one half. Photos are embedded
    once, so that with Segment Anything only the small decoder runs more often; GrabCut takes ``copies`` times as long.

    Args:
        teacher: which is asked.
        copies: boxes for each box, itself included, 2 to 9.
        jitter: how far each side is moved, as a share of the box's side, in (0, 0.5).
    """

    @within_limits
    def __init__(self, teacher: Teacher, copies: Copies = 5, jitter: Jitter = 0.1) -> None:
        self.teacher = teacher
        self.copies = copies
        self.jitter = jitter

    @property
    def name(self) -> str:
        """``grabcut_ensemble`` and the like."""
        return f"{self.teacher.name}_ensemble"

    @property
    def weights_sha256(self) -> str:  # type: ignore[override]  # computed only when it is asked for
        """Of the teacher's weights."""
        return self.teacher.weights_sha256

    @property
    def settings(self) -> dict[str, Any]:
        """The teacher's, and two of its own."""
        return {**self.teacher.settings, "copies": self.copies, "jitter": self.jitter}

    def preparation(self) -> Callable[[Photo], Photo]:
        """The teacher's."""
        return self.teacher.preparation()

    def load(self, device: torch.device) -> None:
        """Load the teacher."""
        self.teacher.load(device)

    def embed(self, photos: Sequence[Photo]) -> Any:
        """The teacher's, once for all copies."""
        return self.teacher.embed(photos)

    def propose(self, embedding: Any, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """One candidate for each box: the mean of the best candidates of its copies."""
        copies = [self.moved(image_boxes, frame) for image_boxes, frame in zip(boxes, frames, strict=True)]
        return [self._consensus(proposed) for proposed in self.teacher.propose(embedding, copies, frames)]

    def moved(self, boxes_xyxy: Boxes, frame: Size) -> Boxes:
        """(N, 4) corner boxes to (N · copies, 4), the copies of a box one after the other, inside the frame."""
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
    """(N, K, H, W) and (N, 1, H, W) bool to (N, K); 0 where both are empty, which is no agreement on a region."""
    union = (masks | reference).sum((2, 3))
    return (masks & reference).sum((2, 3)) / union.clamp(min=1)
