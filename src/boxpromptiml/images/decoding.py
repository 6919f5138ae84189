"""Decoding of image files to upright 8-bit images, or rejection with the reason.

A pixel value only means a brightness relative to the value of white. Where the file does not define that value (32-bit
integers, floats beyond 1, 12 bits stored in 16), the image is rejected, because it would be read nearly black.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, TiffImagePlugin

from boxpromptiml.images.arrays import Instances, Photo
from boxpromptiml.images.errors import ImageError, NotAnImageError, PixelRangeError, TooLargeError
from boxpromptiml.images.files import FORMATS
from boxpromptiml.images.late_exif import has_late_exif

DEFAULT_MAX_PIXELS = 120_000_000
"""Default pixel limit: above today's cameras, below a decompression bomb (30,000 × 30,000)."""
PLAIN = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"})
"""Pillow's modes with at most 8 bits per channel, which it converts to RGB."""
WIDE_TOP = 65_535
DARKEST = 4096
"""If all 16-bit pixels are below this value, they probably hold at most 12 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Upright:
    """A decoded image, rotated according to its EXIF orientation.

    Attributes:
        image: 8 bits per channel, in one of the modes in `PLAIN`.
        orientation: EXIF orientation of the file, 1 to 8; None if it has none.
    """

    image: Image.Image
    orientation: int | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def photo(self) -> Photo:
        """Return (H, W, 3) uint8 RGB; alpha is dropped."""
        return np.array(self.rgb())  # a copy, because torch rejects read-only memory

    def rgb(self) -> Image.Image:
        """Return a Pillow image in mode RGB; alpha is dropped."""
        return self.image if self.image.mode == "RGB" else self.image.convert("RGB")


def read_photo(path: Path) -> Photo:
    """Read a photo as (H, W, 3) uint8 RGB: upright, without alpha, 16 bits scaled to 8, only the first frame.

    Floating-point images must lie in [0, 1].

    Raises:
        ImageError: the file is missing, empty, truncated, not an image, above the pixel limit, or has an unknown value
            range.
    """
    return read_upright(path).photo()


def read_upright(path: Path, single: bool = False) -> Upright:
    """Read a photo or mask together with its EXIF orientation.

    Args:
        path: the image file.
        single: reject files with several images, of which only the first would be read.

    Raises:
        ImageError: as for `read_photo`.
    """
    with _open(path) as image:
        return _decode(image, path, single)


def decode_photo(content: bytes, name: str, limit: int) -> Photo:
    """Decode the bytes of an image file like `read_photo`, without accessing the disk.

    Args:
        content: bytes of the file.
        name: used in error messages.
        limit: largest number of pixels.

    Raises:
        ImageError: as for `read_photo`; the subclasses `TooLargeError` and `NotAnImageError` distinguish the reasons.
    """
    with _open(Path(name), content, limit) as image:
        return _decode(image, Path(name)).photo()


def read_size(path: Path) -> tuple[int, int]:
    """Return width and height of the upright image from the file's header; the pixel data may still be truncated.

    Raises:
        ImageError: the file is missing, empty, not an image, or above the pixel limit.
    """
    with _open(path) as image:
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow >= 11 gives the upright size
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        try:
            early = isinstance(image, PngImagePlugin.PngImageFile) and not has_late_exif(path)
            exif = Image.Image.getexif(image) if early else {}  # PNG's own getexif would decode all pixels
            orientation = exif.get(ExifTags.Base.Orientation) if early else _orientation(image)
        except Exception as error:  # as in _decode
            raise ImageError(f"{path}: its EXIF cannot be read ({error}); save the image again") from None
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def read_numbers(path: Path) -> tuple[Instances, int | None]:
    """Read a one-channel integer image as (H, W) int32, upright, together with its EXIF orientation.

    Raises:
        ImageError: the file cannot be read, has colours, or holds fractions.
    """
    with _open(path) as image:
        if len(image.getbands()) != 1:
            raise ImageError(f"{path}: an instance map has one channel of integers, but this file has {image.mode}")
        try:
            orientation = _orientation(image)
            values = np.array(ImageOps.exif_transpose(image))
        except Exception as error:  # as in _decode
            raise _broken(path, error) from None
    numbers = values.astype(np.int32)
    if not np.array_equal(numbers, values):
        raise ImageError(f"{path}: the instance map has fractions; export it as integers")
    return numbers, orientation


def max_pixels() -> int:
    """Return the pixel limit: the environment variable ``BOXPROMPTIML_MAX_PIXELS``, or 120 million.

    Raises:
        ImageError: the variable is not a positive integer.
    """
    text = os.environ.get("BOXPROMPTIML_MAX_PIXELS", str(DEFAULT_MAX_PIXELS))
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ImageError(f"BOXPROMPTIML_MAX_PIXELS is {text!r}; set it to a whole number of pixels above 0")
    return int(text)


def _open(path: Path, content: bytes | None = None, limit: int | None = None) -> Image.Image:
    """Parse the header of a file, or of uploaded content with its own pixel limit."""
    if limit is None:
        limit = max_pixels()
        shrink = "shrink it, or raise the limit with BOXPROMPTIML_MAX_PIXELS if you trust the file"
        replace = "replace it or leave it out"
    else:
        shrink, replace = "shrink it", "send a photo"
    too_large = f"more than the limit of {limit:,}; {shrink}"
    if content is None:
        _require_file(path)
    elif not content:
        raise ImageError(f"{path}: the file is empty; {replace}")
    Image.MAX_IMAGE_PIXELS = limit  # Pillow rejects images above twice its own limit, whatever ours is
    try:
        with warnings.catch_warnings():  # our limit below replaces Pillow's warning
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path if content is None else io.BytesIO(content), formats=FORMATS)
    except PermissionError:
        raise ImageError(f"{path}: permission denied; change its permissions") from None
    except Image.DecompressionBombError:
        raise TooLargeError(f"{path}: {too_large}") from None
    except Exception:  # Pillow's parsers raise many different types for broken headers
        raise NotAnImageError(f"{path}: not a readable image; {replace}") from None
    if image.width * image.height > limit:
        image.close()
        raise TooLargeError(f"{path}: {image.width}×{image.height} pixels, {too_large}")
    return image


def _require_file(path: Path) -> None:
    """Reject paths that are not non-empty regular files; reading from a pipe would block forever."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path}: no such file; correct its name or restore it") from None
    except (OSError, ValueError) as error:  # a symlink loop, a name that is too long or contains a null byte
        raise ImageError(f"{path}: cannot be opened ({error}); correct its name or replace it") from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: is a folder; pass an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: is a pipe or a device; pass an image file")
    if status.st_size == 0:
        raise ImageError(f"{path}: the file is empty; replace it or leave it out")


def _decode(image: Image.Image, path: Path, single: bool = False) -> Upright:
    try:
        if single and (pictures := getattr(image, "n_frames", 1)) > 1:
            raise ImageError(f"{path}: contains {pictures} pictures, and it is unclear which counts; export only one")
        raw, top = _raw_mode(image), _top(image)  # Pillow discards these when it decodes
        orientation = _orientation(image)
        return Upright(_eight_bit(ImageOps.exif_transpose(image), path, raw, top), orientation)
    except ImageError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError, …
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> ImageError:
    return ImageError(f"{path}: cannot be decoded ({error}); the file may be cut off, export it again")


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation. To be called before decoding, when Pillow rotates a TIFF and drops the tag."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        image.load()  # EXIF may follow the pixel data
    value = image.getexif().get(ExifTags.Base.Orientation)
    return value if value in range(1, 9) else None


def _raw_mode(image: Image.Image) -> str:
    """Return the storage format of the pixels, such as ``RGB;16B``, of which Pillow keeps the upper eight bits."""
    tiles: list[Any] = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _top(image: Image.Image) -> int | None:
    """Return the integer value of white that a TIFF states; None if it states none."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
    stated = image.tag_v2.get(281)  # MaxSampleValue
    stated = stated[0] if isinstance(stated, tuple) and stated else stated
    if isinstance(stated, int) and 0 < stated < WIDE_TOP:
        return stated
    return (1 << bits) - 1 if 8 < bits < 16 else None


def _eight_bit(image: Image.Image, path: Path, raw: str, top: int | None) -> Image.Image:
    """Convert an upright image of any type to a mode in `PLAIN`.

    Raises:
        PixelRangeError: the value of white is unknown.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and ";32" not in raw and not raw.endswith("S")):
        return _from_wide(np.asarray(image), path, top)
    if image.mode == "F":
        return _from_floats(np.asarray(image), path)
    if image.mode not in PLAIN:
        mode = "32-bit integer (white is undefined)" if image.mode == "I" else image.mode
        raise PixelRangeError(f"{path}: pixels of type {mode} are not supported; save it as RGB with 8 or 16 bits")
    if ";16" in raw and 0 < _brightest(image) < DARKEST >> 8:
        raise PixelRangeError(
            f"{path}: has 16 bits per channel but uses only the lower twelve or fewer, so it would look almost "
            "black; scale its values to the full range of 16 bits"
        )
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")  # direct conversion to RGB warns and loses the colour of transparent pixels
    return image


def _from_wide(values: NDArray[Any], path: Path, top: int | None) -> Image.Image:
    low, high = int(values.min()), int(values.max())
    if top is not None and low >= 0 and high <= top:
        return _grey(np.rint(values.astype(np.float64) * (255 / top)))
    if low < 0 or high > WIDE_TOP:
        raise PixelRangeError(f"{path}: its pixels range from {low} to {high}, beyond 16 bits; save it as 8 or 16 bits")
    if 0 < high < DARKEST:
        raise PixelRangeError(
            f"{path}: has 16 bits per pixel but its largest value is {high} of {WIDE_TOP}, so it would look "
            "almost black; scale its values to the full range of 16 bits"
        )
    return _grey(values.astype(np.uint16) >> 8)


def _from_floats(values: NDArray[np.float32], path: Path) -> Image.Image:
    if not np.isfinite(values).all():
        raise PixelRangeError(f"{path}: some of its floating-point pixels are not numbers; save it as 8 or 16 bits")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise PixelRangeError(
            f"{path}: its floating-point pixels range from {low:g} to {high:g}, but only 0 (black) to 1 (white) "
            "is supported; scale them, or save it as 8 or 16 bits"
        )
    return _grey(np.rint(values * 255))


def _grey(levels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint8), "L")


def _brightest(image: Image.Image) -> int:
    """Return the largest value of any channel except alpha."""
    return int(max(np.asarray(image.getchannel(band)).max() for band in image.getbands() if band != "A"))
