"""An example of a forged photo, composed of two photos from scikit-image: a cat looks out of a coffee cup."""

from __future__ import annotations

import cv2
import numpy as np
from skimage import data

from boxpromptiml.images import Mask, Photo, jpeg_round_trip, resize_photo

NAME = "cat in a coffee cup"
FACE = (80, 20, 320, 240)
"""Bounding box ``x1 y1 x2 y2`` of the ellipse in the cat's photo."""
WIDTH, PLACE = 192, (330, 10)
"""Width of the pasted face in pixels, and the position ``x y`` of its upper left corner in the coffee's photo."""
QUALITY = 92


def forged_photo() -> tuple[Photo, Mask]:
    """Create the photo, (400, 600, 3) uint8 RGB, after JPEG compression, and its ground truth, (400, 600) bool.

    Chelsea the cat is by Stéfan van der Walt, the coffee by Rachel Michetti; both are CC0.
    """
    left, top, right, bottom = FACE
    face = data.chelsea()[top:bottom, left:right]
    height = round(WIDTH * (bottom - top) / (right - left))
    face = resize_photo(np.ascontiguousarray(face), WIDTH, height)
    ellipse = np.zeros((height, WIDTH), np.uint8)
    cv2.ellipse(ellipse, (WIDTH // 2, height // 2), (WIDTH // 2 - 1, height // 2 - 1), 0, 0, 360, 1, -1)
    photo, mask = data.coffee().copy(), np.zeros(data.coffee().shape[:2], bool)
    x, y = PLACE
    mask[y : y + height, x : x + WIDTH] = ellipse == 1
    photo[mask] = face[ellipse == 1]
    return jpeg_round_trip(photo, QUALITY), mask
