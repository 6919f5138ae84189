"""What photos go through between a forger and an analyst: blur, noise, compression, resizing, gamma, sharing.

The levels of `Levels` are those that the field tests at (IMDLBenCo and its peers), but for sharing, which is ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from boxpromptiml.core.limits import (
    BlurSide,
    Gamma,
    GreyLevels,
    NoiseVariance,
    Quality,
    ResizeFactor,
    TimesShared,
    hold_fields,
)
from boxpromptiml.core.records import InputError
from boxpromptiml.images import Mask, Photo, jpeg_round_trip, resize_mask, resize_photo

SHARED_SCALE, SHARED_QUALITY = 0.8, 75
"""Of one way through a social network: a shrunk photo, saved as JPEG. Chosen by us, in imitation of no certain one."""


@dataclass(frozen=True, slots=True)
class DegradationKind:
    """One way to degrade a photo.

    Attributes:
        title: what its levels are.
        neutral: the level that leaves a photo as it is; None where no level does.
        falling: whether a lower level is worse.
    """

    title: str
    neutral: float | None
    falling: bool = False


KINDS: Mapping[str, DegradationKind] = MappingProxyType(
    {
        "blur": DegradationKind("Gaussian blur, kernel in pixels", 1),
        "noise": DegradationKind("Gaussian noise, standard deviation", 0),
        "noise_variance": DegradationKind("Gaussian noise, variance", 0),
        "jpeg": DegradationKind("JPEG, quality", None, falling=True),
        "resize": DegradationKind("resizing, factor", 1, falling=True),
        "gamma": DegradationKind("gamma", 1),
        "sharing": DegradationKind("times shared on a network", 0),
    }
)
"""Name, as the fields of `Levels` → what it is."""


@dataclass(frozen=True)  # without slots, which jsonargparse cannot read defaults from
class Levels:
    """At which levels photos are degraded, always one kind at a time. An empty list leaves a kind out.

    Args:
        blur: side of a Gaussian kernel in pixels, odd; its standard deviation is OpenCV's 0.3 ((k − 1) / 2 − 1) + 0.8.
        noise: standard deviation of Gaussian noise, on values from 0 to 255.
        noise_variance: variance of Gaussian noise; IMDLBenCo means its numbers so, which are then hardly visible.
        jpeg: quality of a JPEG file, 1 to 100, with the usual halved colour.
        resize: factor on both sides; the truth is resized with the photo.
        gamma: exponent on values from 0 to 1.
        sharing: how many times a photo was uploaded to a social network and downloaded; each time it is shrunk to four
            fifths of its sides, its truth with it, and saved as JPEG at quality 75.

    Raises:
        InputError: a level is out of its range.
    """

    blur: tuple[BlurSide, ...] = (3, 7, 11, 15, 19, 23)
    noise: tuple[GreyLevels, ...] = (3, 7, 11, 15, 19, 23)
    noise_variance: tuple[NoiseVariance, ...] = ()
    jpeg: tuple[Quality, ...] = (100, 90, 80, 70, 60, 50)
    resize: tuple[ResizeFactor, ...] = (0.78, 0.25)
    gamma: tuple[Gamma, ...] = (0.7, 0.8, 0.9, 1.1, 1.2, 1.3)
    sharing: tuple[TimesShared, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        hold_fields(self, "levels.")

    def degradations(self) -> list[Degradation]:
        """Every level of every kind.

        Raises:
            InputError: a level is named twice.
        """
        named = [Degradation(kind, level) for kind, levels in asdict(self).items() for level in levels]
        twice = [degradation for i, degradation in enumerate(named) if degradation in named[:i]]
        if twice:
            raise InputError(f"levels.{twice[0].kind} names {twice[0].level:g} twice; name each level once")
        return named


@dataclass(frozen=True, slots=True)
class Degradation:
    """A kind of `KINDS` at one level; see `Levels` for their meaning.

    Raises:
        InputError: the level is out of its range.
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        level: dict[str, Any] = {self.kind: (self.level,)}
        Levels(**level)  # which holds the limits

    def __str__(self) -> str:
        return f"{self.kind} {self.level:g}"

    def apply(self, photo: Photo, truth: Mask, image_id: int) -> tuple[Photo, Mask]:
        """A photo (H, W, 3) uint8 and its truth (H, W) bool, degraded; they keep one size, which may be another.

        Args:
            photo: at its own resolution.
            truth: where it was manipulated.
            image_id: seeds the noise, together with the kind and the level.
        """
        if self.kind == "blur":
            side = int(self.level)
            return np.asarray(cv2.GaussianBlur(photo, (side, side), 0)), truth
        if self.kind == "jpeg":
            return jpeg_round_trip(photo, int(self.level)), truth
        if self.kind == "resize":
            return _resized(photo, truth, self.level)
        if self.kind == "gamma":
            table = np.rint(255 * (np.arange(256) / 255) ** self.level).astype(np.uint8)
            return table[photo], truth
        if self.kind == "sharing":
            for _ in range(int(self.level)):
                photo, truth = _resized(photo, truth, SHARED_SCALE)
                photo = jpeg_round_trip(photo, SHARED_QUALITY)
            return photo, truth
        deviation = self.level**0.5 if self.kind == "noise_variance" else self.level
        rng = np.random.default_rng([image_id, zlib.crc32(str(self).encode())])
        noisy = photo + rng.normal(0, deviation, photo.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), truth


def _resized(photo: Photo, truth: Mask, factor: float) -> tuple[Photo, Mask]:
    height, width = (max(1, round(side * factor)) for side in truth.shape)
    return resize_photo(photo, width, height), resize_mask(truth, width, height)
