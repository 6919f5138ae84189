"""What can be wrong with an image file. Every text is one line that names the file and the remedy.

A class has the ``code`` under which `boxpromptiml check` counts it.
"""

from __future__ import annotations

from typing import ClassVar

from boxpromptiml.core.records import InputError


class ImageError(InputError):
    """An image file that cannot be used."""

    code: ClassVar[str] = "unreadable_file"


class TooLargeError(ImageError):
    """An image with more pixels than the limit."""


class NotAnImageError(ImageError):
    """A file of no format in `FORMATS`, or with a header that makes no sense."""


class PixelRangeError(ImageError):
    """Pixels of a type, or in a range, of which nobody can say which value is white."""


class PhotoSizeError(ImageError):
    """A photo of another size than is said of it."""

    code = "size_mismatch"


class MaskError(ImageError):
    """A mask that cannot be read."""

    code = "unreadable_mask"


class MissingMaskError(MaskError):
    """A mask whose file is not there."""

    code = "missing_mask"


class MaskSizeError(MaskError):
    """A mask of another size than its photo."""

    code = "mask_size_mismatch"


class OrientationError(MaskError):
    """A mask of which nobody can say whether its photo's EXIF turns it, too."""

    code = "unclear_orientation"


class NotAMaskError(MaskError):
    """A picture that does not look like a mask: too dark, coloured, transparent, or a photo."""

    code = "not_a_mask"


class EmptyMaskError(MaskError):
    """A manipulated image whose mask marks nothing."""

    code = "empty_mask"


class FullMaskError(MaskError):
    """A mask that marks every pixel."""

    code = "full_mask"


class UnexpectedMaskError(MaskError):
    """An authentic image whose mask marks something."""

    code = "authentic_with_mask"
