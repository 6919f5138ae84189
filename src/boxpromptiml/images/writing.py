"""Writing of images. Files are written atomically."""

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
"""Maximum side of a JPEG in pixels."""
COMPRESSION = 1
"""PNG compression level; level 6 is 8 % smaller and takes four times as long."""


def write_photo(path: Path, photo: Photo) -> None:
    """Write (H, W, 3) uint8 RGB in the format of the suffix (JPEG with quality 92)."""
    _save(path, Image.fromarray(photo, "RGB"))


def write_mask(path: Path, mask: Mask) -> None:
    """Write an (H, W) bool mask as an 8-bit image, 255 = manipulated.

    Its EXIF orientation is set to upright, which is unambiguous even if the photo's EXIF rotates the photo.
    """
    _save(path, Image.fromarray(mask.astype(np.uint8) * 255, "L"), _upright())


def mask_png(mask: Mask) -> bytes:
    """Return the PNG file that `write_mask` writes."""
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255, "L").save(stream, "PNG", compress_level=COMPRESSION, exif=_upright())
    return stream.getvalue()


def write_probability(path: Path, probability: Probability) -> None:
    """Write an (H, W) probability map in [0, 1] as an 8-bit PNG, 255 = certain."""
    import cv2  # here, because commands that write no probabilities do not need it

    # Pillow tries five filters per row, which takes twice as long without making such smooth maps smaller.
    how = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, png = cv2.imencode(".png", to_uint8(probability), how)
    with _writing(path):
        write_whole(path, png.tobytes())


def to_uint8(probability: Probability) -> NDArray[np.uint8]:
    """Convert probabilities in [0, 1] to rounded uint8 in [0, 255]."""
    levels = np.multiply(probability, 255, dtype=np.float32)
    return np.clip(np.rint(levels, out=levels), 0, 255, out=levels).astype(np.uint8)


def jpeg_round_trip(photo: Photo, quality: int) -> Photo:
    """Compress (H, W, 3) uint8 as JPEG with a quality from 1 to 100 and decode it again.

    Raises:
        ImageError: a side exceeds the maximum of a JPEG.
    """
    height, width = photo.shape[:2]
    if max(height, width) > JPEG_SIDE:
        raise ImageError(f"{width}×{height} pixels exceed what a JPEG can hold; crop the photo, or leave it out")
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
    except OSError as error:  # full disk, or a missing or read-only folder
        raise ImageError(f"{path}: cannot be written ({error.strerror}); free space or choose another folder") from None
