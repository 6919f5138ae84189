"""What synthesized forgeries look like: every probability and every range, as plain data."""

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
    hold_fields,
)
from boxpromptiml.core.records import InputError

Kind = Literal["splice", "copy_move", "removal", "retouch"]
KINDS: tuple[Kind, ...] = ("splice", "copy_move", "removal")
"""Made by default; ``retouch`` is made where it is asked for."""
Range = tuple[Positive, Positive]
"""Smallest and largest value; drawn uniformly between them, areas and scales on a logarithmic scale."""


@dataclass(frozen=True)  # without slots: jsonargparse reads defaults from __dict__
class Traces:
    """What a camera, an editor or a web site leaves in a picture, in this order (ours).

    Attributes:
        blur: probability of a Gaussian blur.
        blur_sigma: its standard deviation in pixels.
        resample: probability that the picture is shrunk and enlarged again.
        resample_factor: how small it was shrunk, as a share of its sides.
        brightness: probability of another exposure and a slight colour cast.
        brightness_factor: of the exposure; each colour deviates from it by up to 5 %.
        noise: probability of sensor noise, Gaussian and independent for each pixel and colour.
        noise_sigma: its standard deviation in grey levels.
        jpeg: probability of a JPEG compression.
        jpeg_quality: 1 to 95.
        jpeg_shift: probability that its 8 × 8 grid does not start in the picture's corner.
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
    """What a forgery looks like (ours). Probabilities and shares lie in [0, 1].

    Attributes:
        area: of the forged region as a share of the image. Copy-moves and removals go up to half of the largest,
            where they stay believable.
        objects: probability that a splice is an object, where a folder of objects is given.
        segments: probability that any other region follows a segment found in the photo instead of a random outline.
        transform: probability that what is pasted was scaled, turned and perhaps mirrored.
        scale: factor on its sides. Objects are always scaled to fit `area`, by no more than the largest factor.
        rotation: largest turn in degrees.
        flip: probability that a transformed piece is mirrored.
        feather: probability that the edge is blended softly.
        feather_width: of a soft edge as a share of the image's shorter side.
        poisson: probability that the piece is blended by its gradients (Poisson, OpenCV's seamlessClone). What is
            neither soft nor Poisson is pasted with a hard edge.
        colour_match: probability that a donor's mean and spread of colour are moved towards the host's.
        colour_match_strength: how far; 1 makes them equal.
        host: traces of the photo that is forged.
        donor: traces of what is spliced into it.
        finish: traces that the finished forgery gets as a whole, authentic images as well.
        canvas: size the forgery is made at, as a factor of its final size; above 1 it is shrunk at the end, as a
            student shrinks a photo.
        aspect: width over height of the scene that is squeezed into the square, as a student squeezes a photo.
        plain_copies: probability that a copy-move is a plain translation, as most that people make are: whole pixels,
            a hard or barely soft edge, at times a little brighter or darker, and often a geometric outline. None of
            the fields above applies to it but `area` and `segments`.
        visible: smallest mean change inside the region in grey levels; a region that changes less is drawn anew.
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
    """A number of a range, as often between 1 and 2 as between 2 and 4."""
    return float(np.exp(rng.uniform(*np.log(values))))


def check(recipe: Recipe) -> None:
    """Refuse a recipe without meaning.

    Raises:
        InputError: naming the first field that is off.
    """
    hold_fields(recipe, "recipe.")
    for name, (least, most) in _pairs(recipe):
        if least > most:
            raise InputError(f"recipe.{name} is {least:g} to {most:g}; give the smaller number first")
    if recipe.feather + recipe.poisson > 1:
        raise InputError(
            f"recipe.feather and recipe.poisson add up to {recipe.feather + recipe.poisson:g}; the sum is at most 1"
        )


def _pairs(settings: Recipe | Traces, prefix: str = "") -> Iterator[tuple[str, Range]]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, Traces):
            yield from _pairs(value, f"{field.name}.")
        elif isinstance(value, tuple):
            yield prefix + field.name, value
