"""Processing traces in images: blur, resampling, exposure, noise and JPEG compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.images import Mask, Photo, jpeg_round_trip, resize_photo
from boxpromptiml.synthesis.recipe import Traces

JPEG_BLOCK = 8
"""Side of JPEG's blocks in pixels."""


def leave_traces(photo: Photo, traces: Traces, rng: np.random.Generator) -> Photo:
    """Apply each trace to a photo with its probability, in the order in which images usually acquire them.

    Args:
        photo: (H, W, 3) uint8 RGB; not modified.
        traces: probabilities and strengths.
        rng: the only source of randomness.
    """
    height, width = photo.shape[:2]
    if rng.random() < traces.blur:
        photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), rng.uniform(*traces.blur_sigma)), np.uint8)
    if rng.random() < traces.resample:
        factor = rng.uniform(*traces.resample_factor)
        small = resize_photo(photo, max(1, round(width * factor)), max(1, round(height * factor)))
        photo = resize_photo(small, width, height)
    if rng.random() < traces.brightness:
        photo = to_photo(photo * (rng.uniform(*traces.brightness_factor) * rng.uniform(0.95, 1.05, 3)))
    if rng.random() < traces.noise:
        sigma = np.float32(rng.uniform(*traces.noise_sigma))
        photo = to_photo(photo + sigma * rng.standard_normal(photo.shape, np.float32))
    if rng.random() < traces.jpeg:
        quality = round(rng.uniform(*traces.jpeg_quality))
        shift = rng.integers(0, JPEG_BLOCK, 2) if rng.random() < traces.jpeg_shift else (0, 0)
        top, left = (int(distance) for distance in shift)
        padded = np.pad(photo, ((top, 0), (left, 0), (0, 0)), mode="edge")
        photo = np.ascontiguousarray(jpeg_round_trip(padded, quality)[top:, left:])
    return photo


def match_colour(content: Photo, region: Mask, host: Photo, strength: float) -> Photo:
    """Move the mean and spread of colour in a region towards those of the host (Reinhard et al. 2001, in CIE Lab).

    Args:
        content: (H, W, 3) uint8 RGB.
        region: (H, W) bool, the visible part of the content.
        host: (H, W, 3) uint8 RGB.
        strength: 0 leaves the content unchanged, 1 makes mean and spread equal.
    """
    lab, host_lab = (
        np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)) for picture in (content, host)
    )
    mean, spread = lab[region].mean(0), lab[region].std(0) + 1
    host_mean, host_spread = host_lab.mean((0, 1)), host_lab.std((0, 1)) + 1
    matched = (lab - mean) * (host_spread / spread) ** strength + mean + strength * (host_mean - mean)
    return to_photo(np.asarray(cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_LAB2RGB)) * 255)


def to_photo(values: NDArray[np.floating]) -> Photo:
    """Round and clip grey levels to uint8."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
