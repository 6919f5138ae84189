"""Frozen teachers that turn boxes into masks. A new teacher is one file with one subclass of ``Teacher``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.boxes import Boxes
from boxpromptiml.images import Photo

if TYPE_CHECKING:  # seconds to import, and not every teacher needs it
    import torch

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The masks that a teacher proposes for the N boxes of one image, C for each.

    Attributes:
        probability: (N, C, H, W) float32 in [0, 1]: an array, or a tensor on the device where it was computed.
        scores: (N, C) float32 in [0, 1], the teacher's own confidence in each mask; the same.
    """

    probability: NDArray[np.float32] | torch.Tensor
    scores: NDArray[np.float32] | torch.Tensor


class Teacher(ABC):
    """What stage one asks of a teacher.

    Each photo goes through ``preparation()`` in a loader worker, then a batch of them through ``embed`` once, and the
    boxes of all images of the batch through ``propose``. Constructing a teacher is cheap; ``load`` is not.
    """

    weights_sha256 = ""
    """Of the weight file; empty for a teacher without weights."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name and variant, such as ``sam_vit_h``."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Every argument that can change a mask; caches with different settings never mix."""

    @abstractmethod
    def preparation(self) -> Callable[[Photo], Photo]:
        """A function that resizes a photo for ``embed``. It is sent to other processes, so it must be picklable."""

    def load(self, device: torch.device) -> None:  # noqa: B027  (a teacher without weights has nothing to do)
        """Fetch the weights and move them to a device. Called once in each process, before ``embed``.

        Raises:
            InputError: the weights are missing or damaged.
        """

    @abstractmethod
    def embed(self, photos: Sequence[Photo]) -> Any:
        """Everything about a batch of prepared photos that does not depend on boxes, in the teacher's own form."""

    @abstractmethod
    def propose(self, embedding: Any, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """Masks for the boxes of every image of a batch.

        Args:
            embedding: what ``embed`` returned.
            boxes: for each image (N, 4) corner boxes; N may be 0 and differ between images.
            frames: for each image the size of the frame in which its boxes lie and its masks are wanted.
        """
