"""The one place that reads and writes pixels, and that knows value ranges.

Photos are (H, W, 3) uint8 RGB, upright; masks are (H, W) bool; probability masks are (H, W) float32 in [0, 1].
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, features

from boxpromptiml.records import InputError

Photo = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Probability = NDArray[np.float32]
Instances = NDArray[np.int32]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".ppm"})
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000", "PPM")
FORMATS += ("AVIF",) if "avif" in features.modules and features.check("avif") else ()
"""What Pillow may take a file for, whatever its name. Of its other parsers, one hands EPS files to Ghostscript, which
runs them as programs."""
DEFAULT_MAX_PIXELS = 120_000_000
"""Largest image that is decoded, in pixels: above today's cameras, below a decompression bomb (30,000 × 30,000)."""


class ImageError(InputError):
    """An image file that cannot be used. Its text is one line that names the file and the remedy."""


class TooLargeError(ImageError):
    """An image with more pixels than the limit."""


class NotAnImageError(ImageError):
    """A file of no format in `FORMATS`, or with a header that makes no sense."""


def read_photo(path: Path) -> Photo:
    """Read any photo as (H, W, 3) uint8 RGB: upright, alpha dropped, 16-bit scaled to 8, the first frame of many.

    Raises:
        ImageError: the file is missing, empty, cut off, not an image, or larger than the pixel limit.
    """
    with _open(path) as image:
        return np.array(_decode(image, path, "RGB"))  # a copy, because torch refuses read-only memory


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
        return np.array(_decode(image, Path(name), "RGB"))


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


def read_mask(path: Path, size: tuple[int, int] | None = None) -> Mask:
    """Read a mask as (H, W) bool: True where the grey value is 128 or more.

    Args:
        path: the mask file. Palette and two-level masks are read by their shown grey value.
        size: (width, height) that the mask must have, usually the photo's.

    Raises:
        ImageError: the file cannot be read, or its size differs.
    """
    with _open(path) as image:
        mask = np.asarray(_decode(image, path, "L")) >= 128
    if size is not None and mask.shape != (size[1], size[0]):
        raise ImageError(
            f"{path}: the mask is {mask.shape[1]}×{mask.shape[0]} and its image {size[0]}×{size[1]}; "
            "export the mask at the image's size"
        )
    return mask


def read_instances(path: Path, size: tuple[int, int]) -> Instances:
    """Read an instance map as (H, W) int32: 0 for the background and one number for each object.

    Args:
        path: a one-channel picture of whole numbers, 8-bit, 16-bit or palette (whose indices count, not its colours).
        size: (height, width) that the map must have, its photo's.

    Raises:
        ImageError: the file cannot be read, has colours, or its size differs.
    """
    with _open(path) as image:
        if len(image.getbands()) != 1:
            raise ImageError(f"{path}: an instance map has one channel of whole numbers, this has {image.mode}")
        try:
            instances = np.array(image).astype(np.int32)
        except Exception as error:  # as in _decode
            raise ImageError(f"{path}: cannot be decoded ({error}); the file may be cut off, export it again") from None
    if instances.shape != size:
        raise ImageError(
            f"{path}: the map is {instances.shape[1]}×{instances.shape[0]} and its photo {size[1]}×{size[0]}; "
            "export the map at the photo's size"
        )
    return instances


def write_photo(path: Path, photo: Photo) -> None:
    """Write (H, W, 3) uint8 RGB; the suffix chooses the format (JPEG at quality 92). The file appears whole or not."""
    _save(path, Image.fromarray(photo, "RGB"))


def write_mask(path: Path, mask: Mask) -> None:
    """Write an (H, W) bool mask as an 8-bit picture, 255 = manipulated. The file appears whole or not at all."""
    _save(path, Image.fromarray(mask.astype(np.uint8) * 255, "L"))


def write_probability(path: Path, probability: Probability) -> None:
    """Write an (H, W) probability in [0, 1] as an 8-bit picture, 255 = certain. The file appears whole or not."""
    _save(path, Image.fromarray(to_uint8(probability), "L"))


def to_uint8(probability: Probability) -> NDArray[np.uint8]:
    """Probability in [0, 1] to uint8 in [0, 255], rounded."""
    return np.rint(np.clip(probability, 0, 1) * 255).astype(np.uint8)


def resize_photo(photo: Photo, width: int, height: int) -> Photo:
    """Resize (H, W, 3) uint8 with an antialiased bilinear filter."""
    if photo.shape[:2] == (height, width):
        return photo
    return np.asarray(Image.fromarray(photo, "RGB").resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask: Mask, width: int, height: int) -> Mask:
    """Resize an (H, W) bool mask: True where at least half of the area under the new pixel is True."""
    if mask.shape == (height, width):
        return mask
    return resize_probability(mask.astype(np.float32), width, height) >= 0.5


def resize_probability(probability: Probability, width: int, height: int) -> Probability:
    """Resize an (H, W) float map: area average when shrinking, bilinear when growing."""
    if probability.shape == (height, width):
        return probability
    shrinks = width * height < probability.size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(probability, np.float32), (width, height), interpolation=how))


def jpeg_round_trip(photo: Photo, quality: int) -> Photo:
    """(H, W, 3) uint8 as it comes back from a JPEG file of the given quality, 1 to 100."""
    stream = io.BytesIO()
    Image.fromarray(photo, "RGB").save(stream, "JPEG", quality=quality)
    with Image.open(stream) as written:
        return np.array(written)


def list_images(folder: Path) -> list[Path]:
    """Every image file below a folder, by suffix, in an order that does not depend on the file system.

    Raises:
        ImageError: the folder does not exist.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; name a folder of photos")
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    return sorted(found, key=lambda p: p.relative_to(folder).as_posix())


def max_pixels() -> int:
    """The pixel limit: the environment variable ``BOXPROMPTIML_MAX_PIXELS``, or 120 million.

    Raises:
        ImageError: the variable holds something else than a whole number.
    """
    text = os.environ.get("BOXPROMPTIML_MAX_PIXELS", str(DEFAULT_MAX_PIXELS))
    try:
        return int(text)
    except ValueError:
        raise ImageError(f"BOXPROMPTIML_MAX_PIXELS is {text!r}; set it to a whole number of pixels") from None


def _open(path: Path, content: bytes | None = None, limit: int | None = None) -> Image.Image:
    """Parse the header of a file, or of content that was sent under a name and has a limit of its own."""
    if limit is None:
        limit = max_pixels()
        shrink = "shrink it, or raise the limit with BOXPROMPTIML_MAX_PIXELS if you trust the file"
        replace = "replace it or take it out of the manifest"
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
        raise ImageError(f"{path}: no such file; correct its name in the manifest or restore it") from None
    except (OSError, ValueError) as error:  # a ring of links, a name that is too long or has a zero byte
        raise ImageError(f"{path}: cannot be opened ({error}); correct its name or replace it") from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: is a folder; name an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: is no file but a pipe or a device; name an image file")
    if status.st_size == 0:
        raise ImageError(f"{path}: the file is empty; replace it or take it out of the manifest")


def _decode(image: Image.Image, path: Path, mode: str) -> Image.Image:
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16") or upright.mode == "I":
            wide = np.clip(np.asarray(upright), 0, 65535)
            upright = Image.fromarray((wide >> 8).astype(np.uint8), "L")
        elif upright.mode == "P" and "transparency" in upright.info:
            upright = upright.convert("RGBA")  # straight to RGB warns and loses the colour of clear pixels
        return upright.convert(mode)
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ValueError, …
        raise ImageError(f"{path}: cannot be decoded ({error}); the file may be cut off, export it again") from None


def _save(path: Path, image: Image.Image) -> None:
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    try:
        image.save(partial, quality=92, compress_level=1)  # PNG: 8 % larger than level 6, written four times as fast
        partial.replace(path)
    except OSError as error:  # the disk is full, or the folder is missing or read-only
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ImageError(f"{path}: cannot be written ({error.strerror}); free space or choose another folder") from None
