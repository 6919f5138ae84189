"""Degradations of photos between forgery and analysis: blur, noise, compression, resizing, gamma, sharing.

The default levels are those commonly tested (IMDLBenCo and others), except for sharing, which is ours.
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
    check_fields,
)
from boxpromptiml.core.records import InputError
from boxpromptiml.images import Mask, Photo, jpeg_round_trip, resize_mask, resize_photo

SHARED_SCALE, SHARED_QUALITY = 0.8, 75
"""One upload to a social network: shrinking and JPEG compression. Chosen by us; imitates no particular network."""


@dataclass(frozen=True, slots=True)
class DegradationKind:
    """A kind of degradation.

    Attributes:
        title: meaning of its levels.
        neutral: level without effect; None if there is none.
        falling: whether lower levels are stronger.
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
"""Kind of degradation, as the fields of `Levels`, → description."""


@dataclass(frozen=True)  # no slots, because jsonargparse could not read the defaults
class Levels:
    """Levels of degradation, of which one is applied at a time. An empty list omits a kind.

    Args:
        blur: side of a Gaussian kernel in pixels, odd; its standard deviation is OpenCV's 0.3 ((k − 1) / 2 − 1) + 0.8.
        noise: standard deviation of Gaussian noise, for values from 0 to 255.
        noise_variance: variance of Gaussian noise; IMDLBenCo's numbers are variances, whose noise is hardly visible.
        jpeg: JPEG quality, 1 to 100, with the usual chroma subsampling.
        resize: scale of both sides; the ground truth is resized with the photo.
        gamma: exponent for values from 0 to 1.
        sharing: number of uploads to a social network; each shrinks the sides of the photo and its ground truth to four
            fifths and compresses the photo as JPEG with quality 75.

    Raises:
        InputError: a level is out of range.
    """

    blur: tuple[BlurSide, ...] = (3, 7, 11, 15, 19, 23)
    noise: tuple[GreyLevels, ...] = (3, 7, 11, 15, 19, 23)
    noise_variance: tuple[NoiseVariance, ...] = ()
    jpeg: tuple[Quality, ...] = (100, 90, 80, 70, 60, 50)
    resize: tuple[ResizeFactor, ...] = (0.78, 0.25)
    gamma: tuple[Gamma, ...] = (0.7, 0.8, 0.9, 1.1, 1.2, 1.3)
    sharing: tuple[TimesShared, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        check_fields(self, "levels.")

    def degradations(self) -> list[Degradation]:
        """Return all levels of all kinds.

        Raises:
            InputError: a level is given twice.
        """
        named = [Degradation(kind, level) for kind, levels in asdict(self).items() for level in levels]
        twice = [degradation for i, degradation in enumerate(named) if degradation in named[:i]]
        if twice:
            raise InputError(f"levels.{twice[0].kind} lists {twice[0].level:g} twice; list each level once")
        return named


@dataclass(frozen=True, slots=True)
class Degradation:
    """One level of a kind in `KINDS`; see `Levels` for its meaning.

    Raises:
        InputError: the level is out of range.
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        level: dict[str, Any] = {self.kind: (self.level,)}
        Levels(**level)  # checks the range

    def __str__(self) -> str:
        return f"{self.kind} {self.level:g}"

    def apply(self, photo: Photo, truth: Mask, image_id: int) -> tuple[Photo, Mask]:
        """Degrade a photo (H, W, 3) uint8 and its ground truth (H, W) bool; both keep the same size, which may change.

        Args:
            photo: the photo at its own resolution.
            truth: ground truth.
            image_id: seeds the noise, together with kind and level.
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
        rng = np.random.default_rng([image_id % 2**64, zlib.crc32(str(self).encode())])
        noisy = photo + rng.normal(0, deviation, photo.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), truth


def _resized(photo: Photo, truth: Mask, factor: float) -> tuple[Photo, Mask]:
    height, width = (max(1, round(side * factor)) for side in truth.shape)
    return resize_photo(photo, width, height), resize_mask(truth, width, height)
