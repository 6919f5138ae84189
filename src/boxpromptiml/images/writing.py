"""Pictures written: the file appears whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from boxpromptiml.core.atomic_files import atomic_path, write_whole
from boxpromptiml.images.arrays import Mask, Photo, Probability
from boxpromptiml.images.errors import ImageError

JPEG_SIDE = 65_500
"""Longest side of a JPEG, in pixels."""
COMPRESSION = 1
"""Of PNG; level 6 is 8 % smaller and takes four times as long."""


def write_photo(path: Path, photo: Photo) -> None:
    """Write (H, W, 3) uint8 RGB; the suffix chooses the format (JPEG at quality 92). The file appears whole or not."""
    _save(path, Image.fromarray(photo, "RGB"))


def write_mask(path: Path, mask: Mask) -> None:
    """Write an (H, W) bool mask as an 8-bit picture, 255 = manipulated. The file appears whole or not at all.

    Its EXIF says that it is upright, so that beside a photo which EXIF turns there is no doubt about it.
    """
    _save(path, Image.fromarray(mask.astype(np.uint8) * 255, "L"), _upright())


def mask_png(mask: Mask) -> bytes:
    """The PNG file that `write_mask` writes."""
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255, "L").save(stream, "PNG", compress_level=COMPRESSION, exif=_upright())
    return stream.getvalue()


def write_probability(path: Path, probability: Probability) -> None:
    """Write an (H, W) probability in [0, 1] as an 8-bit PNG, 255 = certain. The file appears whole or not at all."""
    import cv2  # not before: commands that write no probabilities do without

    # Pillow tries five filters on each row, which takes twice as long and makes maps as smooth as these no smaller.
    how = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, png = cv2.imencode(".png", to_uint8(probability), how)
    with _writing(path):
        write_whole(path, png.tobytes())


def to_uint8(probability: Probability) -> NDArray[np.uint8]:
    """Probability in [0, 1] to uint8 in [0, 255], rounded."""
    levels = np.multiply(probability, 255, dtype=np.float32)
    return np.clip(np.rint(levels, out=levels), 0, 255, out=levels).astype(np.uint8)


def jpeg_round_trip(photo: Photo, quality: int) -> Photo:
    """(H, W, 3) uint8 as it comes back from a JPEG file of the given quality, 1 to 100.

    Raises:
        ImageError: a side is longer than a JPEG's may be.
    """
    height, width = photo.shape[:2]
    if max(height, width) > JPEG_SIDE:
        raise ImageError(
            f"{width}×{height} pixels are too many on one side for a JPEG; crop the photo, or leave it out"
        )
    stream = io.BytesIO()
    Image.fromarray(photo, "RGB").save(stream, "JPEG", quality=quality)
    with Image.open(stream) as written:
        return np.array(written)


def _upright() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    return exif


def _save(path: Path, image: Image.Image, exif: Image.Exif | bytes = b"") -> None:
    file_format = Image.registered_extensions()[path.suffix.lower()]
    with _writing(path), atomic_path(path) as partial:
        image.save(partial, format=file_format, quality=92, compress_level=COMPRESSION, exif=exif)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # the disk is full, or the folder is missing or read-only
        raise ImageError(f"{path}: cannot be written ({error.strerror}); free space or choose another folder") from None
