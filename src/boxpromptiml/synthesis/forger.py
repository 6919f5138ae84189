"""From photos of one split to one training image: the scene, the forgery, and what happened to it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from boxpromptiml.images import Mask, Photo, read_photo, resize_mask, resize_photo
from boxpromptiml.images.visualization import thumbnail
from boxpromptiml.synthesis.cutout import Cutout
from boxpromptiml.synthesis.forge import forge
from boxpromptiml.synthesis.objects import SourceObjects, read_object
from boxpromptiml.synthesis.photos import SourcePhoto
from boxpromptiml.synthesis.recipe import Kind, Recipe, log_uniform
from boxpromptiml.synthesis.traces import leave_traces

LEAST_DETAIL = 0.75
"""Smallest crop of a photo as a share of the canvas, so that little is enlarged."""


@dataclass(frozen=True, slots=True)
class Forger:
    """Makes square training images from photos.

    Attributes:
        photos: hosts and donors.
        objects: donors that are objects; may be empty.
        size: side of the images in pixels.
        recipe: what they look like.
    """

    photos: Sequence[SourcePhoto]
    objects: Sequence[SourceObjects]
    size: int
    recipe: Recipe

    def make(self, kind: Kind | None, host: SourcePhoto, rng: np.random.Generator) -> tuple[Photo, Mask | None]:
        """One image and its exact mask.

        Args:
            kind: of forgery; None leaves the image authentic, with the same traces.
            host: the photo that is forged.
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
    """A part of a photo at a random place and scale, sometimes mirrored, as a canvas to forge on.

    Its shape has the area of a square of ``size`` times the recipe's factor, less where the photo has fewer pixels,
    and the recipe's ratio of width to height.
    """
    aspect = log_uniform(rng, recipe.aspect) ** 0.5
    most = max(min(1.0, recipe.canvas[0]), min(photo.shape[0] * aspect, photo.shape[1] / aspect) / size)
    side = size * min(rng.uniform(*recipe.canvas), most)
    return _crop(photo, max(1, round(side / aspect)), max(1, round(side * aspect)), rng)


def _crop(photo: Photo, height: int, width: int, rng: np.random.Generator) -> Photo:
    """A rectangle of the photo, resized to a canvas; from little more than the canvas up to all that fits."""
    largest = min(photo.shape[0] / height, photo.shape[1] / width)
    zoom = log_uniform(rng, (min(largest, LEAST_DETAIL), largest))
    rows, columns = max(1, int(height * zoom)), max(1, int(width * zoom))
    top, left = rng.integers(0, photo.shape[0] - rows + 1), rng.integers(0, photo.shape[1] - columns + 1)
    part = resize_photo(photo[top : top + rows, left : left + columns], width, height)
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


@lru_cache(maxsize=16)
def _working_copy(path: Path, longest_side: int) -> Photo:
    """A decoded photo, kept for the next image; bounded in size, so that sixteen fit beside those of other workers."""
    return thumbnail(read_photo(path), longest_side)


@lru_cache(maxsize=64)
def _object(source: SourceObjects, number: int) -> Cutout:
    return read_object(source, number)
