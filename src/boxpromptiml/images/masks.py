"""Reading masks, and detection of images that are not proper masks.

Wrongly exported masks are still valid images: with 1 instead of 255, with the mask in the alpha channel, with colours
of which some count as dark, or with the cut-out photo itself. They would silently give wrong ground truth, so they are
rejected with a description of what was found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.images.arrays import Mask
from boxpromptiml.images.decoding import Upright, read_upright
from boxpromptiml.images.errors import ImageError, MaskError, MissingMaskError, NotAMaskError, PixelRangeError

MaskForm = Literal["white", "black", "green", "not_black"]
"""Which pixels of a data set's masks are manipulated: grey values of 128 and above (white), those below (black), pixels
more green than red, or all that are not black. All forms other than white are converted."""

WHITE = 128
"""Grey values from this on count as white."""
DARK, BRIGHT = 32, 224
"""Below the first grey value a pixel is black up to JPEG artefacts, from the second on it is white up to artefacts."""
COLOURED = 64
"""A pixel is coloured if two channels differ by at least this; JPEG artefacts are smaller."""
NOISE = 8
"""Channel differences up to this are attributed to JPEG."""
OPAQUE = 250
GREY_AREA = 0.02
"""Fraction of the non-black area from which on areas of a constant grey are more than a soft border."""
GREYS = 32
"""A soft border has at most this many grey levels."""
SQUARE = np.ones((3, 3), np.uint8)
NEARLY_EMPTY, NEARLY_FULL = 5e-5, 0.9
"""Fractions of the image below and from which on a mask is suspicious."""

Levels = NDArray[np.uint8]


def read_mask(path: Path, form: MaskForm = "white") -> Mask:
    """Read a mask on its own as (H, W) bool, upright, True = manipulated. Empty and full masks are accepted.

    To read the mask of a photo, use `read_truth` or `read_pair`: checking its orientation and whether it may be empty
    requires the photo.

    Args:
        path: the mask file. Palette and 1-bit masks are read by their displayed grey value.
        form: how manipulated pixels are marked.

    Raises:
        MaskError: the file cannot be read; `NotAMaskError` if it does not look like a mask.
    """
    return mask_of(read_mask_file(path), path, form)


def read_mask_file(path: Path) -> Upright:
    """Read the image of a mask.

    Raises:
        MaskError: the file cannot be read.
    """
    if not path.exists():
        raise MissingMaskError(f"{path}: no such file; restore the mask, or set mask_file to null")
    try:
        return read_upright(path, single=True)
    except PixelRangeError as error:
        raise NotAMaskError(f"{error}, or export the mask with 8 bits and 255 for manipulated") from None
    except ImageError as error:
        raise MaskError(str(error)) from None


def mask_of(upright: Upright, path: Path, form: MaskForm) -> Mask:
    """Convert the image of a mask to (H, W) bool, True = manipulated.

    Raises:
        NotAMaskError: it does not look like a mask of this form.
    """
    if form in ("green", "not_black"):
        return _of_colours(upright, path, form)
    grey: Levels = np.asarray(upright.image.convert("L"))
    if reason := _against_colours(upright, grey) or _against_alpha(upright, grey) or _against_greys(grey):
        raise NotAMaskError(f"{path}: {reason}")
    return grey < WHITE if form == "black" else grey >= WHITE


def doubt(mask: Mask) -> str:
    """Return a warning for a mask that covers almost nothing or almost everything, else an empty string."""
    share = float(mask.mean())
    if share >= NEARLY_FULL:
        return f"the mask covers {share:.1%} of its image; invert it if black means manipulated in this set"
    if 0 < share < NEARLY_EMPTY:
        return f"the mask marks {int(mask.sum())} of {mask.size:,} pixels; check for stray pixels or a shrunken mask"
    return ""


def _of_colours(upright: Upright, path: Path, form: MaskForm) -> Mask:
    colours = upright.photo().astype(np.int16)
    if 0 < (brightest := int(colours.max())) <= NOISE:
        raise NotAMaskError(f"{path}: {_too_dark(brightest)}")
    if form == "green":
        return np.asarray(colours[..., 1] - colours[..., 0] > NOISE)
    return np.asarray(colours.max(2) > NOISE)


def _against_colours(upright: Upright, grey: Levels) -> str:
    if upright.image.mode in ("1", "L", "LA"):
        return ""
    colours = upright.photo()
    coloured = np.ptp(colours, axis=2) >= COLOURED
    white = int((grey >= WHITE).sum())
    if coloured.sum() <= 0.01 * min(white, grey.size - white):
        return ""
    values, counts = np.unique(colours[coloured], axis=0, return_counts=True)
    red, green, blue = values[counts.argmax()].tolist()
    return (
        f"the mask has colours, such as {red} {green} {blue} (red, green, blue), and it is unclear which of them "
        "mean manipulated; export it with white for manipulated and black for the rest"
    )


def _against_alpha(upright: Upright, grey: Levels) -> str:
    picture = upright.image.convert("RGBA") if "transparency" in upright.image.info else upright.image
    if "A" not in picture.getbands():
        return ""
    alpha = np.asarray(picture.getchannel("A"))
    clear = alpha < OPAQUE
    if not clear.any() or clear.all() or np.array_equal(grey >= WHITE, alpha >= WHITE):
        return ""
    return (
        f"the mask is transparent in {clear.mean():.1%} of its area, so the alpha channel may hold the marking; "
        "export it without one, with white for manipulated"
    )


def _against_greys(grey: Levels) -> str:
    brightest = int(grey.max())
    if 0 < brightest < WHITE:
        return _too_dark(brightest)
    between = (grey > DARK) & (grey < BRIGHT)
    black, white = int((grey <= DARK).sum()), int((grey >= BRIGHT).sum())
    many = between.sum() > max(2 * min(black, white), 0.01 * grey.size)
    if many and len(np.unique(grey[between])) > GREYS:
        return (
            f"{between.mean():.0%} of the mask is grey, as in a photo or a cutout of one; use the right file, or "
            "export it in black and white"
        )
    if between.sum() > GREY_AREA * (grey.size - black):
        return _against_levels(grey)
    return ""


def _against_levels(grey: Levels) -> str:
    """Reject several areas of constant grey (object or class ids); in a soft border each grey is only a thin line."""
    flat = cv2.erode(grey, SQUARE) == cv2.dilate(grey, SQUARE)
    values, counts = np.unique(np.where(grey >= BRIGHT, 255, grey)[flat & (grey > DARK)], return_counts=True)
    large = values[counts > GREY_AREA * (grey > DARK).sum()]
    large = large[np.diff(large, prepend=0) > NOISE]
    if len(large) < 2:
        return ""
    return (
        f"the mask has areas with {len(large)} grey values ({', '.join(map(str, large.tolist()))}), as in a map "
        "of object numbers, and it is unclear which of them mean manipulated; export it with white for "
        "manipulated and black for the rest"
    )


def _too_dark(brightest: int) -> str:
    return f"the mask has no white: its brightest pixel is {brightest} of 255; export it with 255 for manipulated"
