"""Files of images decoded: upright, whatever their format and pixel type, or refused with the reason.

A value says how bright a pixel is only together with the value that is white. Where a file's type does not tell that
(32-bit whole numbers, floats beyond 1, 12 bits in 16) it is refused: read wrongly it would be nearly black.
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

DEFAULT_MAX_PIXELS = 120_000_000
"""Largest image that is decoded, in pixels: above today's cameras, below a decompression bomb (30,000 × 30,000)."""
PLAIN = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"})
"""Pillow's modes of 8 bits a channel or fewer that it converts to RGB."""
WIDE_TOP = 65_535
DARKEST = 4096
"""Pixels of 16 bits that all stay below this are 12 bits or fewer, stored in 16."""


@dataclass(frozen=True, slots=True, eq=False)
class Upright:
    """A decoded file, turned as its EXIF says.

    Attributes:
        image: with 8 bits a channel, in one of the modes of `PLAIN`.
        orientation: that EXIF gave, 1 to 8, or None where it gave none.
    """

    image: Image.Image
    orientation: int | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def photo(self) -> Photo:
        """(H, W, 3) uint8 RGB; alpha is dropped."""
        return np.array(self.rgb())  # a copy, because torch refuses read-only memory

    def rgb(self) -> Image.Image:
        """Pillow's RGB; alpha is dropped."""
        return self.image if self.image.mode == "RGB" else self.image.convert("RGB")


def read_photo(path: Path) -> Photo:
    """Read any photo as (H, W, 3) uint8 RGB: upright, alpha dropped, 16-bit scaled to 8, the first frame of many.

    Floats are read where they lie in [0, 1].

    Raises:
        ImageError: the file is missing, empty, cut off, not an image, larger than the pixel limit, or of pixels whose
            range is not known.
    """
    return read_upright(path).photo()


def read_upright(path: Path, single: bool = False) -> Upright:
    """A photo or mask with its EXIF orientation.

    Args:
        path: of the file.
        single: refuse a file of several pictures, of which only the first would be read.

    Raises:
        ImageError: as for `read_photo`.
    """
    with _open(path) as image:
        return _decode(image, path, single)


def decode_photo(content: bytes, name: str, limit: int) -> Photo:
    """Photo from the bytes of a file, as `read_photo` gives it, without any file.

    Args:
        content: of the file.
        name: what errors call it.
        limit: largest number of pixels that is decoded.

    Raises:
        ImageError: as for `read_photo`; `TooLargeError` and `NotAnImageError` tell why.
    """
    with _open(Path(name), content, limit) as image:
        return _decode(image, Path(name)).photo()


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright image, from the file's header alone: the pixels may still turn out cut off.

    Raises:
        ImageError: the file is missing, empty, not an image, or larger than the pixel limit.
    """
    with _open(path) as image:
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow 11 and later give a TIFF's size upright
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        try:
            exif = Image.Image.getexif(image)  # PNG's own decodes all pixels to look for EXIF behind them
        except Exception as error:  # as in _decode
            raise ImageError(f"{path}: its EXIF cannot be read ({error}); save the image again") from None
    return (height, width) if exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8) else (width, height)


def read_numbers(path: Path) -> tuple[Instances, int | None]:
    """A one-channel picture of whole numbers as (H, W) int32, upright, and its EXIF orientation.

    Raises:
        ImageError: the file cannot be read, has colours, or holds fractions.
    """
    with _open(path) as image:
        if len(image.getbands()) != 1:
            raise ImageError(f"{path}: an instance map has one channel of whole numbers, this has {image.mode}")
        try:
            orientation = _orientation(image)
            values = np.array(ImageOps.exif_transpose(image))
        except Exception as error:  # as in _decode
            raise _broken(path, error) from None
    numbers = values.astype(np.int32)
    if not np.array_equal(numbers, values):
        raise ImageError(f"{path}: an instance map has whole numbers, this has fractions; export it as integers")
    return numbers, orientation


def max_pixels() -> int:
    """The pixel limit: the environment variable ``BOXPROMPTIML_MAX_PIXELS``, or 120 million.

    Raises:
        ImageError: the variable holds something else than a whole number above 0.
    """
    text = os.environ.get("BOXPROMPTIML_MAX_PIXELS", str(DEFAULT_MAX_PIXELS))
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ImageError(f"BOXPROMPTIML_MAX_PIXELS is {text!r}; set it to a whole number of pixels above 0")
    return int(text)


def _open(path: Path, content: bytes | None = None, limit: int | None = None) -> Image.Image:
    """Parse the header of a file, or of content that was sent under a name and has a limit of its own."""
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
    Image.MAX_IMAGE_PIXELS = limit  # Pillow refuses twice its own limit, whatever ours is
    try:
        with warnings.catch_warnings():  # the limit below replaces Pillow's warning
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path if content is None else io.BytesIO(content), formats=FORMATS)
    except PermissionError:
        raise ImageError(f"{path}: may not be read; change its permissions") from None
    except Image.DecompressionBombError:
        raise TooLargeError(f"{path}: {too_large}") from None
    except Exception:  # Pillow's parsers raise a different type for each way a header can be broken
        raise NotAnImageError(f"{path}: not an image that can be read; {replace}") from None
    if image.width * image.height > limit:
        image.close()
        raise TooLargeError(f"{path}: {image.width}×{image.height} pixels, {too_large}")
    return image


def _require_file(path: Path) -> None:
    """Refuse what is no file with something in it; a pipe would be waited for, for ever."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path}: no such file; correct its name or restore it") from None
    except (OSError, ValueError) as error:  # a ring of links, a name that is too long or has a zero byte
        raise ImageError(f"{path}: cannot be opened ({error}); correct its name or replace it") from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: is a folder; name an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: is no file but a pipe or a device; name an image file")
    if status.st_size == 0:
        raise ImageError(f"{path}: the file is empty; replace it or leave it out")


def _decode(image: Image.Image, path: Path, single: bool = False) -> Upright:
    try:
        if single and (pictures := getattr(image, "n_frames", 1)) > 1:
            raise ImageError(f"{path}: holds {pictures} pictures, and nobody says which counts; export it as one")
        raw, top = _raw_mode(image), _top(image)  # which Pillow forgets when it decodes
        orientation = _orientation(image)
        return Upright(_eight_bit(ImageOps.exif_transpose(image), path, raw, top), orientation)
    except ImageError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError, …
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> ImageError:
    return ImageError(f"{path}: cannot be decoded ({error}); the file may be cut off, export it again")


def _orientation(image: Image.Image) -> int | None:
    """What EXIF says; asked before the pixels are decoded, because Pillow then turns a TIFF and forgets it."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        image.load()  # EXIF may stand behind the pixels
    value = image.getexif().get(ExifTags.Base.Orientation)
    return value if value in range(1, 9) else None


def _raw_mode(image: Image.Image) -> str:
    """How the file stores its pixels, such as ``RGB;16B``, of which Pillow keeps the upper eight bits."""
    tiles: list[Any] = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _top(image: Image.Image) -> int | None:
    """The value of white in a TIFF that says it, in whole numbers; None where nothing is said."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
    stated = image.tag_v2.get(281)  # MaxSampleValue
    stated = stated[0] if isinstance(stated, tuple) and stated else stated
    if isinstance(stated, int) and 0 < stated < WIDE_TOP:
        return stated
    return (1 << bits) - 1 if 8 < bits < 16 else None


def _eight_bit(image: Image.Image, path: Path, raw: str, top: int | None) -> Image.Image:
    """An upright picture of any type in a mode of `PLAIN`.

    Raises:
        PixelRangeError: nobody can say which value is white.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and ";32" not in raw and not raw.endswith("S")):
        return _from_wide(np.asarray(image), path, top)
    if image.mode == "F":
        return _from_floats(np.asarray(image), path)
    if image.mode not in PLAIN:
        raise PixelRangeError(
            f"{path}: its pixels are of the type {_named(image.mode)}; save it as 8 or 16 bits in RGB"
        )
    if ";16" in raw and 0 < _brightest(image) < DARKEST >> 8:
        raise PixelRangeError(
            f"{path}: has 16 bits a channel and uses the lower twelve or fewer, so it would be nearly black; scale its "
            "values to the full range of 16 bits"
        )
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")  # straight to RGB warns and loses the colour of clear pixels
    return image


def _from_wide(values: NDArray[Any], path: Path, top: int | None) -> Image.Image:
    low, high = int(values.min()), int(values.max())
    if top is not None and low >= 0 and high <= top:
        return _grey(np.rint(values.astype(np.float64) * (255 / top)))
    if low < 0 or high > WIDE_TOP:
        raise PixelRangeError(f"{path}: its pixels go from {low} to {high}, beyond 16 bits; save it as 8 or 16 bits")
    if 0 < high < DARKEST:
        raise PixelRangeError(
            f"{path}: has 16 bits a pixel and its largest value is {high} of {WIDE_TOP}, so it would be nearly black; "
            "scale its values to the full range of 16 bits"
        )
    return _grey(values.astype(np.uint16) >> 8)


def _from_floats(values: NDArray[np.float32], path: Path) -> Image.Image:
    if not np.isfinite(values).all():
        raise PixelRangeError(f"{path}: some of its floating-point pixels are no numbers; save it as 8 or 16 bits")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise PixelRangeError(
            f"{path}: its floating-point pixels go from {low:g} to {high:g}, and only 0 to 1 is sure to be black to "
            "white; scale them so, or save it as 8 or 16 bits"
        )
    return _grey(np.rint(values * 255))


def _grey(levels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint8), "L")


def _brightest(image: Image.Image) -> int:
    """Largest value of any channel but alpha."""
    return int(max(np.asarray(image.getchannel(band)).max() for band in image.getbands() if band != "A"))


def _named(mode: str) -> str:
    return {"I": "32-bit whole numbers, of which nobody says which value is white"}.get(mode, mode)
