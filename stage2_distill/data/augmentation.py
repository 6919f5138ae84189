"""Augmentation of training samples: the same geometry for the photo and its masks, noise for the photo only."""

from __future__ import annotations

import os
from dataclasses import dataclass

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing it would otherwise check for updates online

import albumentations as A
import cv2

from boxpromptiml.core.limits import Quality, Share, ShareAboveZero, check_fields


@dataclass(frozen=True)  # no slots, because jsonargparse could not read the defaults
class Augmentation:
    """Augmentation of training samples. Geometric transforms are always applied to the photo and its masks.

    Args:
        flip: probability of a horizontal flip, and of a vertical one.
        crop_scale: smallest fraction of the photo kept by a resized crop; 1 disables crops.
        jpeg_quality: lowest JPEG quality of a recompression; 100 disables it.
        blur: probability of a slight Gaussian blur.
        noise: probability of slight Gaussian noise.
    """

    flip: Share = 0.5
    crop_scale: ShareAboveZero = 0.6
    jpeg_quality: Quality = 70
    blur: Share = 0.1
    noise: Share = 0.1

    def __post_init__(self) -> None:
        check_fields(self, "augmentation.")


def training_transform(size: int, augmentation: Augmentation) -> A.Compose:
    """Build a transform of ``image`` (H, W, 3) uint8 and ``masks``, a list of (H, W) uint8, to a side of ``size``."""
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
        steps.append(A.Resize(size, size, interpolation=cv2.INTER_AREA, mask_interpolation=cv2.INTER_LINEAR))
    steps += [A.HorizontalFlip(p=augmentation.flip), A.VerticalFlip(p=augmentation.flip)]
    if augmentation.blur:
        steps.append(A.GaussianBlur(blur_limit=(3, 5), p=augmentation.blur))
    if augmentation.noise:
        steps.append(A.GaussNoise(std_range=(0.005, 0.03), p=augmentation.noise))
    if augmentation.jpeg_quality < 100:
        steps.append(A.ImageCompression(quality_range=(augmentation.jpeg_quality, 100), p=0.5))
    return A.Compose(steps)
