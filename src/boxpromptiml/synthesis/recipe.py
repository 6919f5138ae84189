"""Parameters of synthesized forgeries: all probabilities and ranges, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from boxpromptiml.core.limits import (
    GreyLevels,
    NotNegative,
    Positive,
    Probability,
    ShareAboveZero,
    ShareInside,
    UsualQuality,
    check_fields,
)
from boxpromptiml.core.records import InputError

Kind = Literal["splice", "copy_move", "removal", "retouch"]
KINDS: tuple[Kind, ...] = ("splice", "copy_move", "removal")
"""Default kinds of forgery; ``retouch`` has to be requested."""
Range = tuple[Positive, Positive]
"""Smallest and largest value; drawn uniformly in between, areas and scales on a logarithmic scale."""


@dataclass(frozen=True)  # no slots, because jsonargparse reads defaults from __dict__
class Traces:
    """Traces that a camera, an editor or a web site leaves in an image, in the order of application (ours).

    Attributes:
        blur: probability of a Gaussian blur.
        blur_sigma: its standard deviation in pixels.
        resample: probability that the image is shrunk and enlarged again.
        resample_factor: scale of the shrunk image.
        brightness: probability of a different exposure with a slight colour cast.
        brightness_factor: factor on the exposure; each colour channel deviates from it by up to 5 %.
        noise: probability of sensor noise, Gaussian and independent for each pixel and channel.
        noise_sigma: its standard deviation in grey levels.
        jpeg: probability of a JPEG compression.
        jpeg_quality: 1 to 95.
        jpeg_shift: probability that its 8 × 8 grid is not aligned with the corner of the image.
    """

    blur: Probability = 0.0
    blur_sigma: Range = (0.4, 1.2)
    resample: Probability = 0.0
    resample_factor: tuple[ShareAboveZero, ShareAboveZero] = (0.4, 0.9)
    brightness: Probability = 0.0
    brightness_factor: Range = (0.75, 1.25)
    noise: Probability = 0.0
    noise_sigma: Range = (1.0, 6.0)
    jpeg: Probability = 0.0
    jpeg_quality: tuple[UsualQuality, UsualQuality] = (70, 95)
    jpeg_shift: Probability = 0.0


@dataclass(frozen=True)
class Recipe:
    """Parameters of a forgery (ours). Probabilities and fractions lie in [0, 1].

    Attributes:
        area: area of the forged region as a fraction of the image. Copy-moves, removals and retouched regions use at
            most half of the upper bound, up to which they are plausible.
        objects: probability that a splice is an object, if a folder of objects is given.
        segments: probability that any other region is a segment of the photo instead of a random outline.
        transform: probability that the pasted piece is scaled, rotated and possibly mirrored.
        scale: factor on its sides. Objects are always scaled to fit `area`, by at most the upper bound.
        rotation: largest rotation in degrees.
        flip: probability that a transformed piece is mirrored.
        feather: probability of a soft edge.
        feather_width: width of a soft edge as a fraction of the image's shorter side.
        poisson: probability that the piece is blended in the gradient domain (Poisson, OpenCV's seamlessClone). All
            other pieces are pasted with a hard edge.
        colour_match: probability that a donor's mean and spread of colour are moved towards the host's.
        colour_match_strength: how far; 1 makes them equal.
        host: traces of the photo that is forged.
        donor: traces of what is spliced into it.
        finish: traces applied to the whole finished image, also to authentic images.
        canvas: size at which the forgery is made, relative to its final size; above 1 it is shrunk at the end, as a
            student shrinks photos.
        aspect: width over height of the scene before it is resized to a square, as a student resizes photos.
        plain_copies: probability that a copy-move is a plain translation, as most real ones are: whole pixels, a hard
            or nearly hard edge, sometimes slightly brighter or darker, often with a geometric outline. Of the fields
            above only `area` and `segments` apply to it.
        visible: smallest mean change inside the region in grey levels; a region that changes less is drawn again.
    """

    area: tuple[ShareInside, ShareInside] = (0.01, 0.40)
    objects: Probability = 0.7
    segments: Probability = 0.5
    transform: Probability = 0.5
    scale: Range = (0.7, 1.4)
    rotation: NotNegative = 20.0
    flip: Probability = 0.5
    feather: Probability = 0.4
    feather_width: tuple[ShareAboveZero, ShareAboveZero] = (0.005, 0.02)
    poisson: Probability = 0.15
    colour_match: Probability = 0.4
    colour_match_strength: Range = (0.3, 1.0)
    host: Traces = Traces(jpeg=0.5, noise=0.3, noise_sigma=(1.0, 4.0))
    donor: Traces = Traces(blur=0.2, resample=0.3, brightness=0.3, noise=0.3, jpeg=0.5, jpeg_shift=1.0)
    finish: Traces = Traces(jpeg=0.5, jpeg_quality=(75, 95))
    canvas: Range = (1.0, 2.5)
    aspect: Range = (0.75, 1.5)
    plain_copies: Probability = 0.0
    visible: GreyLevels = 8.0


def log_uniform(rng: np.random.Generator, values: Range) -> float:
    """Draw a number from a range, uniformly on a logarithmic scale."""
    return float(np.exp(rng.uniform(*np.log(values))))


def check(recipe: Recipe) -> None:
    """Reject an invalid recipe.

    Raises:
        InputError: names the first invalid field.
    """
    check_fields(recipe, "recipe.")
    for name, (least, most) in _pairs(recipe):
        if least > most:
            raise InputError(f"recipe.{name} is {least:g} to {most:g}; give the smaller number first")
    if recipe.feather + recipe.poisson > 1:
        raise InputError(
            f"recipe.feather and recipe.poisson add up to {recipe.feather + recipe.poisson:g}; the sum must be "
            "at most 1"
        )


def _pairs(settings: Recipe | Traces, prefix: str = "") -> Iterator[tuple[str, Range]]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, Traces):
            yield from _pairs(value, f"{field.name}.")
        elif isinstance(value, tuple):
            yield prefix + field.name, value
