"""Errors about image files. Each message is one line that names the file and the remedy.

``code`` is the category under which `boxpromptiml check` counts the error.
"""

from __future__ import annotations

from typing import ClassVar

from boxpromptiml.core.records import InputError


class ImageError(InputError):
    """An image file cannot be used."""

    code: ClassVar[str] = "unreadable_file"


class TooLargeError(ImageError):
    """An image has more pixels than the limit."""


class NotAnImageError(ImageError):
    """A file is in none of the `FORMATS`, or has an invalid header."""


class PixelRangeError(ImageError):
    """The value of white is unknown for the image's pixel type or range."""


class PhotoSizeError(ImageError):
    """A photo has a different size than its manifest states."""

    code = "size_mismatch"


class MaskError(ImageError):
    """A mask cannot be read."""

    code = "unreadable_mask"


class MissingMaskError(MaskError):
    """A mask file does not exist."""

    code = "missing_mask"


class MaskSizeError(MaskError):
    """A mask has a different size than its photo."""

    code = "mask_size_mismatch"


class OrientationError(MaskError):
    """It is unknown whether the photo's EXIF orientation also applies to its mask."""

    code = "unclear_orientation"


class NotAMaskError(MaskError):
    """An image does not look like a mask: too dark, coloured, transparent, or a photo."""

    code = "not_a_mask"


class EmptyMaskError(MaskError):
    """The mask of a manipulated image is empty."""

    code = "empty_mask"


class FullMaskError(MaskError):
    """A mask covers the whole image."""

    code = "full_mask"


class UnexpectedMaskError(MaskError):
    """The mask of an authentic image is not empty."""

    code = "authentic_with_mask"
