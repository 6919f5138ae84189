"""How Segment Anything's encoders see a photo: its longer side resized to the side of their input."""

from __future__ import annotations

from typing import Literal

import numpy as np

from boxpromptiml.images import ImageError, Photo

Variant = Literal["vit_h", "vit_l", "vit_b", "tiny"]
SIDES: dict[Variant, int] = {"vit_h": 1024, "vit_l": 1024, "vit_b": 1024, "tiny": 256}
"""Longest side of each encoder's input in pixels."""


def resize_longest_side(photo: Photo, side: int) -> Photo:
    """Photo with its longer side exactly ``side`` pixels, by Pillow's bilinear filter on uint8.

    Raises:
        ImageError: it is so thin that nothing of its shorter side would be left.
    """
    from segment_anything.utils.transforms import ResizeLongestSide

    refuse_too_thin(photo, side)
    return np.array(ResizeLongestSide(side).apply_image(photo))  # a copy, because torch refuses read-only memory


def refuse_too_thin(photo: Photo, side: int) -> None:
    """Do nothing for a photo that keeps a pixel across when its longer side is resized to ``side``.

    Raises:
        ImageError: it keeps none.
    """
    height, width = photo.shape[:2]
    if 2 * side * min(height, width) < max(height, width):  # half a pixel is rounded up
        raise ImageError(f"{width}×{height} pixels are too thin for SAM, which sees {side} on the longer side; crop it")
