"""Shapes of forged regions: random outlines (blobs, ellipses, polygons) and segments of the photo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.images import Mask, Photo, resize_mask, resize_photo
from boxpromptiml.synthesis.recipe import log_uniform

Outline = NDArray[np.float64]
"""(K, 2) vertices ``x y`` of a closed outline around the origin, of arbitrary scale."""
OVERHANG = 0.15
"""How far a region may extend beyond the image's border, as a fraction of its own size."""
ROUND = 64
"""Number of vertices of a circle."""
SEGMENTED_AT = 96
"""Longer side in pixels of the downscaled photo that is segmented; at this size objects are visible, texture is not."""


def ellipse(rng: np.random.Generator) -> Outline:
    """Draw an ellipse with an aspect ratio between 0.4 and 1 and a random rotation."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    points = np.stack([np.cos(angles), rng.uniform(0.4, 1) * np.sin(angles)], axis=1)
    return np.asarray(points @ _rotation(rng.uniform(0, np.pi)).T)


def polygon(rng: np.random.Generator) -> Outline:
    """Draw a star-shaped polygon with 4 to 9 vertices."""
    corners = int(rng.integers(4, 10))
    angles = (np.arange(corners) + rng.uniform(-0.35, 0.35, corners)) * 2 * np.pi / corners
    return _polar(angles, rng.uniform(0.55, 1, corners))


def blob(rng: np.random.Generator) -> Outline:
    """Draw a smooth outline, as irregular as a hand-cut object: the radius is the exponential of a few random waves."""
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    waves = np.arange(1, 7)
    heights = rng.normal(0, 0.28, len(waves)) / np.sqrt(waves)
    phases = rng.uniform(0, 2 * np.pi, len(waves))
    return _polar(angles, np.exp(np.cos(np.outer(angles, waves) + phases) @ heights))


def random_region(height: int, width: int, rng: np.random.Generator, area_min: float, area_max: float) -> Mask:
    """Draw one connected region of random shape, area and position.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        rng: the only source of randomness.
        area_min: smallest area as a fraction of the image.
        area_max: largest area. Areas are drawn uniformly on a logarithmic scale, so small regions are as common as
            large ones. A region that extends beyond the border is clipped and ends up smaller.

    Returns:
        (H, W) bool, True inside the region, never empty.
    """
    shape = (blob, ellipse, polygon)[rng.choice(3, p=(0.5, 0.25, 0.25))]
    outline = shape(rng)
    target = log_uniform(rng, (area_min, area_max)) * height * width
    outline *= np.sqrt(target / _area(outline))
    low, high = outline.min(0), outline.max(0)
    overhang = OVERHANG * (high - low)
    room = np.array([width - 1, height - 1]) - (high - low) + 2 * overhang
    place = -low - overhang + np.where(room > 0, rng.uniform(0, 1, 2) * room, room / 2)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(outline + place).astype(np.int32)], 1)
    return mask.astype(bool)


def geometric_region(height: int, width: int, rng: np.random.Generator, area_min: float, area_max: float) -> Mask:
    """Draw a circle, an ellipse, a rectangle or a triangle inside the image, as selection tools do.

    See `random_region` for the arguments.
    """
    target = log_uniform(rng, (area_min, area_max)) * height * width
    stretch = np.exp(rng.uniform(-0.5, 0.5)) * np.array([1, -1]) if rng.random() < 0.5 else np.zeros(2)
    corners = int(rng.choice([3, 4, ROUND]))
    turn = rng.uniform(0, 2 * np.pi) if corners == 3 else np.pi / 4
    angles = turn + np.arange(corners) * 2 * np.pi / corners
    outline = np.stack([np.cos(angles), np.sin(angles)], 1) * np.exp(stretch)
    outline *= np.sqrt(target / _area(outline))
    outline *= min(1.0, *(0.9 * np.array([width, height]) / np.ptp(outline, axis=0)))
    room = np.array([width, height]) - 1 - np.ptp(outline, axis=0)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(outline - outline.min(0) + rng.uniform(0, 1, 2) * room).astype(np.int32)], 1)
    return mask.astype(bool)


def segment(photo: Photo, rng: np.random.Generator, area_min: float, area_max: float) -> Mask | None:
    """Choose one segment of a photo, such as an object or a part of one (Felzenszwalb and Huttenlocher 2004).

    Args:
        photo: (H, W, 3) uint8 RGB.
        rng: chooses the coarseness of the segmentation, and one of the segments of the right size.
        area_min: smallest area as a fraction of the photo.
        area_max: largest area.

    Returns:
        (H, W) bool without holes, or None if the photo has no segment of that size.
    """
    from skimage.segmentation import felzenszwalb  # a slow import that --help does not need

    height, width = photo.shape[:2]
    shrink = min(1.0, SEGMENTED_AT / max(height, width))
    small = resize_photo(photo, max(1, round(width * shrink)), max(1, round(height * shrink)))
    labels = felzenszwalb(
        small, scale=float(rng.uniform(60, 400)), sigma=0.8, min_size=max(8, int(area_min * small.size / 3))
    )
    shares = np.bincount(labels.ravel()) / labels.size
    fitting = np.flatnonzero((shares >= area_min) & (shares <= area_max))
    if not len(fitting):
        return None
    chosen = (labels == rng.choice(fitting)).astype(np.uint8)
    outlines, _ = cv2.findContours(chosen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    solid = cv2.drawContours(np.zeros_like(chosen), [max(outlines, key=len)], -1, 1, cv2.FILLED)
    mask = resize_mask(np.asarray(solid, bool), width, height)
    return mask if mask.any() else None


def _polar(angles: NDArray[np.float64], radii: NDArray[np.float64]) -> Outline:
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _area(outline: Outline) -> float:
    x, y = outline.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
