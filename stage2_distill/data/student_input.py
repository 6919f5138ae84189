"""The student's input from a photo. A separate file, so that inference does not import training code."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from boxpromptiml.images import Photo, resize_photo


def student_input(photo: Photo, side: int) -> Tensor:
    """Resize (H, W, 3) uint8 to a square and convert it to (3, side, side) float in [0, 1]."""
    square = resize_photo(photo, side, side)
    return torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1))).float().div_(255)
