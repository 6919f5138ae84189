"""Session fixtures: a small manifest with every kind of image, valid or not, and forged photos."""

import numpy as np
import pytest

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.images import read_photo, resize_photo
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.synthesis.manipulations import forge
from boxpromptiml.synthesis.photos import packaged_photos
from boxpromptiml.synthesis.recipe import Recipe

SIZES = [(256, 256), (320, 214), (150, 400), (97, 61), (1200, 500), (333, 332)]
"""(width, height): square, wide, tall, tiny, large and with odd sides."""
BROKEN = {5: "empty.png", 17: "mask_of_another_size.png"}


def scene(rng, height, width):
    """A noisy photo with one bright disk, the mask of the disk, and a loose box around it."""
    photo = rng.integers(40, 100, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    cx, cy, r = rng.integers(14, width - 14), rng.integers(14, height - 14), rng.integers(7, 12)
    disk = (x - cx) ** 2 + (y - cy) ** 2 <= r**2
    photo[disk] += 110
    return photo, disk, as_boxes([(cx - r - 2, cy - r - 1, cx + r + 3, cy + r + 2)])


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    """22 photos of different sizes: 8 and 16 authentic, 5 and 17 broken, 3 with two boxes, 2 without ground truth."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    records = []
    for i in range(22):
        height, width = 40 + i, 60 - i
        photo, mask, boxes = scene(rng, height, width)
        authentic = i in (8, 16)
        path, mask_path = folder / BROKEN.get(i, f"{i}.png"), folder / f"{i}_mask.png"
        images.write_photo(path, photo)
        images.write_mask(mask_path, mask[:-1] if i == 17 else mask)
        if i == 3:
            boxes = np.concatenate([boxes, as_boxes([(0, 0, 9, 12)])])
        records.append(
            ImageRecord(
                image_id=100 + i,
                path=path,
                width=width,
                height=height,
                boxes_xyxy=boxes[:0] if authentic else boxes,
                split="train" if i < 15 else "val",
                source="even" if i % 2 == 0 else "odd",
                mask_path=None if authentic or i == 2 else mask_path,
                authentic=authentic,
                kind=None if authentic else "splice",
            )
        )
    (folder / BROKEN[5]).write_bytes(b"")
    write_manifest(folder / "manifest.json", records)
    return folder / "manifest.json"


@pytest.fixture(scope="session")
def forgeries():
    """Photos outside the training set of the small network with a forged region each: (photo, boxes, mask) per size."""
    rng = np.random.default_rng(5)
    photos = [read_photo(photo.path) for photo in packaged_photos() if photo.split == "test"]
    made = []
    for i, (width, height) in enumerate(SIZES * 3):
        host, donor = (resize_photo(photos[k % len(photos)], width, height) for k in (i, i + 1))
        forgery = forge(("splice", "copy_move", "removal")[i % 3], host, donor, rng, Recipe())
        boxes = boxes_from_mask(forgery.mask, rng, looseness=0.3)
        corners = rng.uniform(0, 0.6, (i % 4, 2)) * (width, height)
        others = np.concatenate([corners, corners + rng.uniform(0.1, 0.4, corners.shape) * (width, height)], axis=1)
        made.append((forgery.photo, np.concatenate([boxes, as_boxes(others)]), forgery.mask))
    return made
