"""Conversion of a photo to the student's input. A separate file, so that inference does not import training code."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from boxpromptiml.images import Photo


def image_tensor(photo: Photo) -> Tensor:
    """Convert (H, W, 3) uint8 to (3, H, W) float in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))).float().div_(255)
