"""Augmentation of a training sample: one geometry for the photo and all its masks, noise for the photo alone."""

from __future__ import annotations

import os
from dataclasses import dataclass

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise importing it asks the network for a newer release

import albumentations as A
import cv2


@dataclass(frozen=True)  # without slots, which jsonargparse cannot read defaults from
class Augmentation:
    """How training samples are varied. Nothing that moves pixels is ever applied to the photo alone.

    Args:
        flip: probability of a horizontal flip, and of a vertical one.
        crop_scale: smallest share of the photo that a resized crop keeps; 1 switches crops off.
        jpeg_quality: lowest JPEG quality of a recompression; 100 switches it off.
        blur: probability of a slight Gaussian blur.
        noise: probability of slight Gaussian noise.
    """

    flip: float = 0.5
    crop_scale: float = 0.6
    jpeg_quality: int = 70
    blur: float = 0.1
    noise: float = 0.1


def training_transform(size: int, augmentation: Augmentation) -> A.Compose:
    """Compose that takes ``image`` (H, W, 3) uint8 and ``masks``, a list of (H, W) uint8, to ``size`` × ``size``."""
    steps: list[A.BasicTransform] = []
    if augmentation.crop_scale < 1:
        steps.append(
            A.RandomResizedCrop(
                (size, size),
                scale=(augmentation.crop_scale, 1.0),
                ratio=(0.8, 1.25),
                interpolation=cv2.INTER_AREA,
                mask_interpolation=cv2.INTER_LINEAR,
            )
        )
    else:
        steps.append(_resize(size))
    steps += [A.HorizontalFlip(p=augmentation.flip), A.VerticalFlip(p=augmentation.flip)]
    if augmentation.blur:
        steps.append(A.GaussianBlur(blur_limit=(3, 5), p=augmentation.blur))
    if augmentation.noise:
        steps.append(A.GaussNoise(std_range=(0.005, 0.03), p=augmentation.noise))
    if augmentation.jpeg_quality < 100:
        steps.append(A.ImageCompression(quality_range=(augmentation.jpeg_quality, 100), p=0.5))
    return A.Compose(steps)


def evaluation_transform(size: int) -> A.Compose:
    """Compose that only resizes ``image`` and ``masks`` to ``size`` × ``size``."""
    return A.Compose([_resize(size)])


def _resize(size: int) -> A.Resize:
    return A.Resize(size, size, interpolation=cv2.INTER_AREA, mask_interpolation=cv2.INTER_LINEAR)
