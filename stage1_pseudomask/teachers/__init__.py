"""Frozen teachers that turn boxes into masks. A new teacher is one file with a subclass of ``Teacher``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.boxes import Boxes
from boxpromptiml.images import Photo

if TYPE_CHECKING:  # a slow import that not every teacher needs
    import torch

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidate masks of a teacher for the N boxes of one image, C per box.

    Attributes:
        probability: (N, C, H, W) float32 in [0, 1]: an array, or a tensor on the device that computed it.
        scores: (N, C) float32 in [0, 1], the teacher's own confidence in each mask; likewise.
    """

    probability: NDArray[np.float32] | torch.Tensor
    scores: NDArray[np.float32] | torch.Tensor


class Teacher(ABC):
    """Interface of a teacher.

    Each photo passes through ``preparation()`` in a loader worker, then a batch of them through ``embed`` once, and the
    boxes of all images of the batch through ``propose``. Constructing a teacher is cheap; ``load`` is not.
    """

    weights_sha256 = ""
    """SHA-256 of the weight file; empty for a teacher without weights."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and variant, such as ``sam_vit_h``."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All arguments that can change a mask; caches with different settings are never mixed."""

    @abstractmethod
    def preparation(self) -> Callable[[Photo], Photo]:
        """Return a picklable function that resizes a photo for ``embed``; it is sent to other processes."""

    def load(self, device: torch.device) -> None:  # noqa: B027  (a teacher without weights has nothing to do)
        """Load the weights onto a device. Called once in each process, before ``embed``.

        Raises:
            InputError: the weights are missing or damaged.
        """

    @abstractmethod
    def embed(self, photos: Sequence[Photo]) -> Any:
        """Compute what does not depend on boxes for a batch of prepared photos, in the teacher's own format."""

    @abstractmethod
    def propose(self, embedding: Any, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """Propose masks for the boxes of all images of a batch.

        Args:
            embedding: result of ``embed``.
            boxes: (N, 4) boxes (XYXY) of each image; N may be 0 and differ between images.
            frames: size of the frame of each image's boxes and of the resulting masks.
        """
