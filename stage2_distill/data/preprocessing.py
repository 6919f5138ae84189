"""How a photo becomes the student's input. A separate file, so that inference does not import training code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from boxpromptiml.images import Photo, resize_photo


def student_input(photo: Photo, side: int) -> Tensor:
    """Resize (H, W, 3) uint8 to a square and convert it to (3, side, side) float in [0, 1]."""
    square = resize_photo(photo, side, side)
    return torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1))).float().div_(255)


@dataclass(frozen=True)
class Resize:
    """Transform of validation samples: resizes photos as `student_input` does, and their masks.

    Args:
        size: side of the square result in pixels.
    """

    size: int

    def set_random_seed(self, seed: int) -> None:
        """Do nothing, because the transform is deterministic."""

    def __call__(self, image: Photo, masks: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
        """Resize ``image`` (H, W, 3) and ``masks`` (H, W), all uint8."""
        side = (self.size, self.size)
        resized = [mask if mask.shape == side else cv2.resize(mask, side) for mask in masks]
        return {"image": resize_photo(image, *side), "masks": resized}
