"""Resizing of photos for Segment Anything's encoders: the longer side to the side of their input."""

from __future__ import annotations

from typing import Literal

import numpy as np

from boxpromptiml.images import ImageError, Photo

Variant = Literal["vit_h", "vit_l", "vit_b", "tiny"]
SIDES: dict[Variant, int] = {"vit_h": 1024, "vit_l": 1024, "vit_b": 1024, "tiny": 256}
"""Longest side of each encoder's input in pixels."""


def resize_longest_side(photo: Photo, side: int) -> Photo:
    """Resize a photo so that its longer side is exactly ``side`` pixels, with Pillow's bilinear filter on uint8.

    Raises:
        ImageError: the photo is so thin that its shorter side would vanish.
    """
    from segment_anything.utils.transforms import ResizeLongestSide

    refuse_too_thin(photo, side)
    return np.array(ResizeLongestSide(side).apply_image(photo))  # a copy, because torch rejects read-only memory


def refuse_too_thin(photo: Photo, side: int) -> None:
    """Reject a photo whose shorter side would vanish when its longer side is resized to ``side``.

    Raises:
        ImageError: it would vanish.
    """
    height, width = photo.shape[:2]
    if 2 * side * min(height, width) < max(height, width):  # half a pixel is rounded up
        raise ImageError(
            f"{width}×{height} pixels are too thin for SAM, which resizes the longer side to {side}; crop it"
        )
