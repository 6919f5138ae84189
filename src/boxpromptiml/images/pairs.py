"""Reading a photo together with its mask, because each is needed to interpret the other.

EXIF orientation may apply to the photo only, the sizes must match, and only the mask of an authentic image may be
empty. All commands read ground truth through this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.records import ImageRecord
from boxpromptiml.images.arrays import Instances, Mask, Photo
from boxpromptiml.images.decoding import Upright, read_numbers, read_upright
from boxpromptiml.images.errors import (
    EmptyMaskError,
    FullMaskError,
    MaskSizeError,
    OrientationError,
    PhotoSizeError,
    UnexpectedMaskError,
)
from boxpromptiml.images.masks import MaskForm, mask_of, read_mask_file
from boxpromptiml.images.resizing import resize_mask

SAME_SHAPE = 0.02
"""Largest relative difference of two aspect ratios that rounding and cropping explain. With a larger difference the
mask is rotated or belongs to another image, and it is never resized."""

Pixel = TypeVar("Pixel", np.bool_, np.int32)
Size = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The ground truth of a photo.

    Attributes:
        mask: (H, W) bool at the size of the upright photo, True = manipulated.
        changed: description of how the file's mask was rotated or resized; empty if it was not.
    """

    mask: Mask
    changed: str = ""


def read_record(record: ImageRecord) -> tuple[Photo, Mask | None]:
    """Read the photo and the ground truth of a manifest's image.

    Returns:
        Photo, (H, W, 3) uint8 RGB; ground truth, (H, W) bool, True = manipulated, or None if the manifest names no
        mask. The mask of a manipulated image is never empty, that of an authentic one always is.

    Raises:
        ImageError: a file cannot be used or differs from what the manifest states; see `read_truth`.
    """
    upright = read_upright(record.path)
    return upright.photo(), read_truth(record, upright)


def read_truth(record: ImageRecord, upright: Upright) -> Mask | None:
    """Read the ground truth of a manifest's image whose photo has been read; see `read_record`.

    Raises:
        PhotoSizeError: the photo's size differs from the manifest.
        MaskError: the mask cannot be read, does not look like a mask, or does not fit the photo; it is empty for a
            manipulated image, not empty for an authentic one, or covers everything.
    """
    width, height = upright.size
    if (width, height) != (record.width, record.height):
        raise PhotoSizeError(
            f"{record.path}: the image is {width}×{height} but the manifest says {record.width}×{record.height}; "
            "correct the manifest, and draw the boxes again if they were drawn at another size"
        )
    if record.mask_path is None:
        return None
    return truth_beside(upright, record.path, record.mask_path, record.authentic).mask


def read_pair(photo: Path, mask: Path, form: MaskForm = "white", resize: bool = False) -> tuple[Photo, Truth]:
    """Read a manipulated photo and its mask.

    Args:
        photo: path of the photo.
        mask: path of the mask.
        form: how manipulated pixels are marked.
        resize: accept a mask of a different size but the same aspect ratio, and resize it.

    Raises:
        ImageError: as for `read_truth`.
    """
    upright = read_upright(photo)
    return upright.photo(), truth_beside(upright, photo, mask, form=form, resize=resize)


def truth_beside(
    upright: Upright, photo: Path, path: Path, authentic: bool = False, form: MaskForm = "white", resize: bool = False
) -> Truth:
    """Read the ground truth of a photo that has been read.

    Raises:
        MaskError: as for `read_truth`.
    """
    given = read_mask_file(path)
    marked, changed = _beside(mask_of(given, path, form), given.orientation, path, upright, "mask", resize)
    mask = resize_mask(marked, *upright.size)
    if mask is not marked:
        sizes = f"from {marked.shape[1]}×{marked.shape[0]} to {mask.shape[1]}×{mask.shape[0]}, its image's size"
        changed = ", ".join(filter(None, [changed, sizes]))
    if authentic and mask.any():
        raise UnexpectedMaskError(
            f"{path}: marks {mask.mean():.1%} of {photo.name}, which is marked authentic; draw its boxes, or set "
            "mask_file to null"
        )
    if not authentic and not mask.any():
        raise EmptyMaskError(f"{path}: the mask is empty; move {photo.name} to the authentic images if it is authentic")
    if mask.all():
        raise FullMaskError(
            f"{path}: the mask marks all of {photo.name}; invert it if black means manipulated, otherwise leave "
            "the image out"
        )
    return Truth(mask, changed)


def read_instances(photo: Path, path: Path) -> tuple[Photo, Instances]:
    """Read a photo and its instance map, (H, W) int32: 0 for the background and a positive number per object.

    Args:
        photo: path of the photo.
        path: path of the map, a one-channel integer image: 8-bit, 16-bit or palette (whose indices count, not its
            colours).

    Raises:
        ImageError: a file cannot be read, or the map has colours or a different size than its photo.
    """
    upright = read_upright(photo)
    numbers, own = read_numbers(path)
    instances, _ = _beside(numbers, own, path, upright, "map")
    return upright.photo(), instances


def turned(grid: NDArray[Pixel], orientation: int) -> NDArray[Pixel]:
    """Apply an EXIF orientation, 1 to 8, to an (H, W) array."""
    ways = {
        2: lambda: grid[:, ::-1],
        3: lambda: grid[::-1, ::-1],
        4: lambda: grid[::-1],
        5: lambda: grid.T,
        6: lambda: np.rot90(grid, -1),
        7: lambda: grid[::-1, ::-1].T,
        8: lambda: np.rot90(grid),
    }
    return np.ascontiguousarray(ways[orientation]()) if orientation in ways else grid


def _beside(
    grid: NDArray[Pixel], own: int | None, path: Path, upright: Upright, what: str, resize: bool = False
) -> tuple[NDArray[Pixel], str]:
    """Orient a mask or instance map like its photo; also return a description of the change.

    Raises:
        MaskSizeError: its size differs or, if resizing is allowed, its aspect ratio.
        OrientationError: it is unknown whether the photo's EXIF orientation applies to it.
    """
    turn = upright.orientation if own is None and upright.orientation else 1
    other = turned(grid, turn)
    fit, other_fits = (_size(picture) == upright.size for picture in (grid, other))
    if resize and not fit and not other_fits:
        fit, other_fits = (_same_shape(_size(picture), upright.size) for picture in (grid, other))
    if fit and other_fits and not (grid.shape == other.shape and np.array_equal(grid, other)):
        raise OrientationError(
            f"{path}: EXIF rotates the photo (orientation {turn}), but this file has no EXIF, and its size does "
            "not show whether it is rotated too; save the photo upright and without EXIF, and the mask to match"
        )
    if fit:
        return grid, ""
    if other_fits:
        return other, f"rotated as the photo's EXIF says (orientation {turn})"
    raise MaskSizeError(_of_other_size(path, what, _size(grid), upright))


def _of_other_size(path: Path, what: str, size: Size, upright: Upright) -> str:
    width, height = upright.size
    sizes = f"{path}: the {what} is {size[0]}×{size[1]}, but its image is {width}×{height}"
    if _same_shape(size, upright.size):
        resized = ", or prepare the set with --mismatched resize" if what == "mask" else ""
        return f"{sizes}; export the {what} at the image's size{resized}"
    exif = f" (EXIF rotates the image, orientation {upright.orientation})" if (upright.orientation or 1) > 1 else ""
    return f"{sizes}, a different shape{exif}; find the right {what}, or export it at the image's size"


def _size(grid: NDArray[Pixel]) -> Size:
    return grid.shape[1], grid.shape[0]


def _same_shape(size: Size, other: Size) -> bool:
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= SAME_SHAPE
