"""Creation of one synthetic training image: crop of a photo, forgery, and processing afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from boxpromptiml.images import Mask, Photo, read_photo, resize_mask, resize_photo
from boxpromptiml.images.visualization import thumbnail
from boxpromptiml.synthesis.cutout import Cutout
from boxpromptiml.synthesis.manipulations import forge
from boxpromptiml.synthesis.objects import SourceObjects, read_object
from boxpromptiml.synthesis.photos import SourcePhoto
from boxpromptiml.synthesis.recipe import Kind, Recipe, log_uniform
from boxpromptiml.synthesis.traces import leave_traces

LEAST_DETAIL = 0.75
"""Smallest crop of a photo relative to the canvas, which limits upscaling."""


@dataclass(frozen=True, slots=True)
class Forger:
    """Creates square training images from photos.

    Attributes:
        photos: hosts and donors, all of one split.
        objects: photos with objects to splice; may be empty.
        size: side of the images in pixels.
        recipe: parameters of the forgeries.
    """

    photos: Sequence[SourcePhoto]
    objects: Sequence[SourceObjects]
    size: int
    recipe: Recipe

    def make(self, kind: Kind | None, host: SourcePhoto, rng: np.random.Generator) -> tuple[Photo, Mask | None]:
        """Create one image and its exact mask.

        Args:
            kind: kind of forgery; None leaves the image authentic, with the same traces.
            host: the photo to forge.
            rng: the only source of randomness.

        Returns:
            (S, S, 3) uint8 RGB; (S, S) bool, True = manipulated, never empty, or None for an authentic image.
        """
        recipe = self.recipe
        canvas = random_crop(self._decoded(host.path), self.size, recipe, rng)
        canvas = leave_traces(canvas, recipe.host, rng)
        mask = None
        if kind is not None:
            donor = self._donor(host, canvas, rng) if kind == "splice" else None
            forgery = forge(kind, canvas, donor, rng, recipe)
            canvas, mask = forgery.photo, resize_mask(forgery.mask, self.size, self.size)
        return resize_photo(leave_traces(canvas, recipe.finish, rng), self.size, self.size), mask

    def _donor(self, host: SourcePhoto, canvas: Photo, rng: np.random.Generator) -> Photo | Cutout:
        if self.objects and rng.random() < self.recipe.objects:
            chosen = self.objects[int(rng.integers(len(self.objects)))]
            return _object(chosen, chosen.numbers[int(rng.integers(len(chosen.numbers)))])
        others = [other for other in self.photos if other.scene != host.scene]
        photo = self._decoded(others[int(rng.integers(len(others)))].path)
        height, width = canvas.shape[:2]
        return _crop(photo, height, width, rng)

    def _decoded(self, path: Path) -> Photo:
        return _working_copy(path, 8 * self.size)


def random_crop(photo: Photo, size: int, recipe: Recipe, rng: np.random.Generator) -> Photo:
    """Crop a photo at a random position and scale, sometimes mirrored, as a canvas for a forgery.

    The canvas has the area of a square of ``size`` times the recipe's factor (less if the photo has fewer pixels), and
    the recipe's aspect ratio.
    """
    aspect = log_uniform(rng, recipe.aspect) ** 0.5
    most = max(min(1.0, recipe.canvas[0]), min(photo.shape[0] * aspect, photo.shape[1] / aspect) / size)
    side = size * min(rng.uniform(*recipe.canvas), most)
    return _crop(photo, max(1, round(side / aspect)), max(1, round(side * aspect)), rng)


def _crop(photo: Photo, height: int, width: int, rng: np.random.Generator) -> Photo:
    """Crop a rectangle, from slightly below the canvas size to the largest that fits, and resize it to the canvas."""
    largest = min(photo.shape[0] / height, photo.shape[1] / width)
    zoom = log_uniform(rng, (min(largest, LEAST_DETAIL), largest))
    rows, columns = max(1, int(height * zoom)), max(1, int(width * zoom))
    top, left = rng.integers(0, photo.shape[0] - rows + 1), rng.integers(0, photo.shape[1] - columns + 1)
    part = resize_photo(photo[top : top + rows, left : left + columns], width, height)
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


@lru_cache(maxsize=16)
def _working_copy(path: Path, longest_side: int) -> Photo:
    """Decode a photo and cache it; its size is limited, so that sixteen photos per worker fit in memory."""
    return thumbnail(read_photo(path), longest_side)


@lru_cache(maxsize=64)
def _object(source: SourceObjects, number: int) -> Cutout:
    return read_object(source, number)
