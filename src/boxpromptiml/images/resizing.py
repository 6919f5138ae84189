"""Resizing of photos, masks and probability maps.

Masks and probability maps are area-averaged along a side that shrinks and linearly interpolated along one that grows.
The sides are treated separately, so a strip of 600 × 1 pixels becomes a square without losing pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxpromptiml.images.arrays import Mask, Photo, Probability

if TYPE_CHECKING:  # slow imports that most commands do not need
    from scipy.sparse import csr_array
    from torch import Tensor

HALF = 0.5 - 1e-6
"""Smallest covered fraction of a pixel that counts as True; below 0.5 to allow for rounding."""


def resize_photo(photo: Photo, width: int, height: int) -> Photo:
    """Resize (H, W, 3) uint8 with an antialiased bilinear filter."""
    if photo.shape[:2] == (height, width):
        return photo
    return resize_picture(Image.fromarray(photo, "RGB"), width, height)


def resize_picture(picture: Image.Image, width: int, height: int) -> Photo:
    """Resize a Pillow image in mode RGB like `resize_photo`, which saves two copies of a large photo."""
    how = Image.Resampling.BILINEAR  # width first, because Pillow starts with the height of very tall photos
    return np.array(picture.resize((width, picture.height), how).resize((width, height), how))  # torch wants writable


def resize_mask(mask: Mask, width: int, height: int) -> Mask:
    """Resize an (H, W) bool mask: True where at least half of the area under the new pixel is True.

    If nothing would be left (a speck or a thin line), every touched pixel is True, so a manipulated image never becomes
    authentic.
    """
    if mask.shape == (height, width):
        return mask
    share = resize_probability(mask.astype(np.float32), width, height)
    resized = share >= HALF
    return resized if resized.any() else share > 0


def resize_probability(probability: Probability, width: int, height: int) -> Probability:
    """Resize an (H, W) float map: area average along a shrinking side, linear interpolation along a growing one."""
    old_height, old_width = probability.shape
    resized = np.asarray(probability, np.float32)
    if (old_height, old_width) == (height, width):
        return resized
    if old_width != width:  # first, which keeps the transposed array small
        resized = np.ascontiguousarray((_sparse(old_width, width) @ resized.T).T)
    if old_height != height:
        resized = _sparse(old_height, height) @ resized
    return np.clip(resized, probability.min(), probability.max(), out=resized)


def resize_tensor(grid: Tensor, width: int, height: int) -> Tensor:
    """Resize an (H, W) tensor like `resize_probability`, as float32 on its device."""
    from torch.nn import functional as F

    old_height, old_width = grid.shape
    grid = grid.float()
    if old_height <= height and old_width <= width:  # same result, faster
        return F.interpolate(grid[None, None], (height, width), mode="bilinear")[0, 0]
    return _dense(old_height, height, grid) @ grid @ _dense(old_width, width, grid).T


def side_weights(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Compute how much each old pixel contributes to each new pixel along one side.

    Returns:
        Indices of new pixels, indices of old pixels, and weights; the weights of each new pixel sum to 1.
    """
    if new < old:  # with old pixels of length `new` and new pixels of length `old`, all edges are integers
        edges = np.union1d(np.arange(old + 1, dtype=np.int64) * new, np.arange(new + 1, dtype=np.int64) * old)
        return edges[:-1] // old, edges[:-1] // new, (np.diff(edges) / old).astype(np.float32)
    centres = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    before = np.floor(centres).astype(np.int64)
    after, part = np.minimum(before + 1, old - 1), centres - before
    place = np.arange(new, dtype=np.int64)
    weights = np.concatenate([1 - part, part]).astype(np.float32)
    return np.concatenate([place, place]), np.concatenate([before, after]), weights


@lru_cache(maxsize=64)
def _sparse(old: int, new: int) -> csr_array:
    from scipy.sparse import csr_array

    rows, columns, weights = side_weights(old, new)
    return csr_array((weights, (rows, columns)), shape=(new, old))


def _dense(old: int, new: int, like: Tensor) -> Tensor:
    import torch

    rows, columns, weights = (torch.from_numpy(part).to(like.device) for part in side_weights(old, new))
    return like.new_zeros(new, old).index_put_((rows, columns), weights, accumulate=True)
