"""Conversion of a photo given as path, bytes, PIL image or array."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from boxpromptiml.images import ImageError, Photo, decode_photo, max_pixels, read_photo

GivenPhoto = str | Path | bytes | Image.Image | NDArray[np.uint8]
NAME = "the photo"
"""Name of a photo without a file in error messages."""


def pixels_of(given: GivenPhoto) -> Photo:
    """Convert to (H, W, 3) uint8 RGB, upright and without alpha, like `read_photo`.

    Raises:
        ImageError: it cannot be read, or has an unsupported type.
    """
    if isinstance(given, str | Path):
        return read_photo(Path(given))
    if isinstance(given, bytes | bytearray | memoryview):
        return decode_photo(bytes(given), NAME, max_pixels())
    if isinstance(given, Image.Image):
        return decode_photo(_as_file(given), NAME, max_pixels())
    if isinstance(given, np.ndarray):
        return _of_array(given)
    raise ImageError(f"{NAME} is a {type(given).__name__}; give a path, bytes, a PIL image or an array of uint8")


def _as_file(image: Image.Image) -> bytes:
    """Encode a PIL image losslessly as a file, so that all pixel types follow the rules for files."""
    stream = io.BytesIO()
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):  # Pillow's conversion of the other byte orders clips at 255
            upright = Image.fromarray(np.asarray(upright).astype(np.uint16))
        elif upright.mode not in ("1", "L", "P", "RGB", "RGBA", "I", "F", "CMYK"):
            upright = upright.convert("RGB")
        clean = Image.new(upright.mode, upright.size)  # without EXIF and profiles
        clean.paste(upright)
        if palette := upright.getpalette():
            clean.putpalette(palette)
        clean.save(stream, "TIFF")
    except Exception as error:  # Pillow decodes lazily, and its decoders raise many types
        raise ImageError(f"{NAME} cannot be decoded ({error}); open it again, or give its file") from None
    return stream.getvalue()


def _of_array(given: NDArray[np.uint8]) -> Photo:
    grey = given.ndim == 2 or (given.ndim == 3 and given.shape[2] == 1)
    if given.dtype != np.uint8 or 0 in given.shape or not (grey or (given.ndim == 3 and given.shape[2] in (3, 4))):
        raise ImageError(
            f"{NAME} is an array {given.shape} of {given.dtype}; give (H, W, 3) RGB or (H, W) grey values of uint8, "
            "such as (values * 255).astype('uint8') of floats from 0 to 1"
        )
    pixels = np.repeat(given.reshape(*given.shape[:2], 1), 3, axis=2) if grey else given[..., :3]
    return np.ascontiguousarray(pixels)
