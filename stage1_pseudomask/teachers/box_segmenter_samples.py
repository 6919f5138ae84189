"""Samples for the training of the box segmenter: regions with their surroundings, and augmented crops of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from boxpromptiml.core.boxes import clip, rasterize, with_margin
from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.core.records import InputError
from boxpromptiml.images import Mask, Photo, jpeg_round_trip, read_instances, read_record, resize_mask, resize_photo
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.synthesis.objects import list_objects
from stage1_pseudomask.teachers.box_segmenter import SIDE, Crop

LOOSENESS = 0.35
"""Largest outward move of a box's side, as a fraction of the box."""
SURROUNDINGS = 1.0
"""How much of the photo around a region is kept, as a fraction of the region on each side."""
LONGEST = 240
"""Larger regions are shrunk to this size in pixels."""
MARGIN = 0.05
"""Only pixels in the box with this margin count, as in stage one."""
PER_PHOTO = 8
"""Largest number of regions or objects of a photo."""
SMALLEST = 400
"""Objects with fewer pixels are left out."""


class Region(NamedTuple):
    """A region with its surroundings.

    Attributes:
        photo: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        box_xyxy: (4,) the tight box.
    """

    photo: Photo
    mask: Mask
    box_xyxy: NDArray[np.float32]


class Sample(NamedTuple):
    """What the network sees of a region, and what it shall answer.

    Attributes:
        crop: (SIDE, SIDE, 3) uint8 RGB.
        box_xyxy: (4,) float32 coarse box, in shares of the crop's sides.
        mask: (SIDE, SIDE) bool, the region.
        counts: (SIDE, SIDE) bool, pixels in the box and its margin, which the loss counts.
    """

    crop: Photo
    box_xyxy: NDArray[np.float32]
    mask: Mask
    counts: Mask


def regions_of(manifest: Path) -> list[Region]:
    """Read the regions of a manifest's train split, each with a tight box.

    Raises:
        InputError: there is none.
    """
    rng = np.random.default_rng(0)
    records = [r for r in read_manifest(manifest).records if r.split == "train" and r.mask_path is not None]
    regions: list[Region] = []
    for record in tqdm(records, unit="image"):
        photo, mask = read_record(record)
        if mask is not None and not record.authentic:
            boxes = boxes_from_mask(mask, rng, looseness=0)
            regions += [_region(photo, mask, box) for box in boxes[rng.permutation(len(boxes))[:PER_PHOTO]]]
    if not regions:
        raise InputError(f"{manifest}: no image of the train split has a mask; choose another manifest")
    return regions


def objects_of(folder: Path) -> list[Region]:
    """Read the objects of a folder with images/ and instances/.

    Raises:
        InputError: there is none.
    """
    rng = np.random.default_rng(0)
    regions: list[Region] = []
    for path, its_map in tqdm(list_objects(folder), unit="image"):
        photo, instances = read_instances(path, its_map)
        numbers, counts = np.unique(instances[instances > 0], return_counts=True)
        for number in rng.permutation(numbers[counts > SMALLEST])[:PER_PHOTO]:
            mask = instances == number
            (box,) = boxes_from_mask(mask, rng, looseness=0, mode="image")
            regions.append(_region(photo, mask, box))
    if not regions:
        raise InputError(f"{folder}: no object has more than {SMALLEST} pixels; choose another folder")
    return regions


def _region(photo: Photo, mask: Mask, box_xyxy: NDArray[np.float32]) -> Region:
    """Cut a region out with its surroundings, and shrink it."""
    height, width = mask.shape
    left, top, right, bottom = (int(v) for v in with_margin(box_xyxy[None], SURROUNDINGS, width, height)[0])
    window = slice(top, bottom), slice(left, right)
    photo, mask = np.ascontiguousarray(photo[window]), np.ascontiguousarray(mask[window])
    box = box_xyxy - np.array([left, top] * 2, np.float32)
    factor = min(1.0, LONGEST / max(box[2:] - box[:2]))
    if factor == 1:
        return Region(photo, mask, box)
    size = max(4, round((right - left) * factor)), max(4, round((bottom - top) * factor))
    scale = np.array([size[0] / (right - left), size[1] / (bottom - top)] * 2, np.float32)
    return Region(resize_photo(photo, *size), resize_mask(mask, *size), box * scale)


def drawn(region: Region, rng: np.random.Generator) -> Sample:
    """Draw a coarse box for a region, and augment what the network sees."""
    photo, mask, tight = region
    height, width = mask.shape
    box = _coarse(tight, rng, width, height)
    area = rasterize(with_margin(box[None], MARGIN, width, height), width, height)
    crop = Crop.around(_recoloured(photo, rng), box)
    left, top, right, bottom = crop.window
    window = slice(top, bottom), slice(left, right)
    truth, counts = (resize_mask(np.ascontiguousarray(grid[window]), SIDE, SIDE) for grid in (mask & area, area))
    pixels, place = crop.pixels, crop.box_xyxy
    if rng.random() < 0.5:
        pixels, truth, counts = pixels[:, ::-1], truth[:, ::-1], counts[:, ::-1]
        place = np.array([1 - place[2], place[1], 1 - place[0], place[3]], np.float32)
    if rng.random() < 0.15:
        pixels, truth, counts = pixels[::-1], truth[::-1], counts[::-1]
        place = np.array([place[0], 1 - place[3], place[2], 1 - place[1]], np.float32)
    return Sample(pixels, place, truth, counts)


def _coarse(tight: NDArray[np.float32], rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Move each side outwards by a random share of the box, at times a little inwards, at times all sides alike."""
    most = rng.uniform(0, LOOSENESS)
    least = most if rng.random() < 0.2 else min(-0.03, most)
    sides = np.tile(tight[2:] - tight[:2], 2) * [-1, -1, 1, 1]
    return clip((tight + rng.uniform(least, most, 4) * sides)[None].astype(np.float32), width, height)[0]


def _recoloured(photo: Photo, rng: np.random.Generator) -> Photo:
    """Lower the resolution, change hue, saturation, contrast and brightness, and compress, each at times."""
    height, width = photo.shape[:2]
    if rng.random() < 0.3:
        factor = rng.uniform(0.4, 1)
        small = resize_photo(photo, max(8, int(width * factor)), max(8, int(height * factor)))
        photo = resize_photo(small, width, height)
    if rng.random() < 0.8:
        colours = cv2.cvtColor(photo, cv2.COLOR_RGB2HSV).astype(np.float32)
        colours[..., 0] = (colours[..., 0] + rng.uniform(-12, 12)) % 180
        colours[..., 1] *= rng.uniform(0.4, 1.4)
        changed = cv2.cvtColor(colours.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
        changed = (changed - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-30, 30)
        photo = changed.clip(0, 255).astype(np.uint8)
    return jpeg_round_trip(photo, int(rng.integers(50, 96))) if rng.random() < 0.5 else photo
