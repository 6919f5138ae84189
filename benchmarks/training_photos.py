"""Data for the training benchmark: the same generated photos as image files and as a cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from table import QUICK
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from training_recipe import SIZE

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import Sample, Split, Stamp
from boxpromptiml.shards import SCHEMA, write_index, write_shard

STORED = max(SIZE, 256)
"""Side of a cached sample in pixels."""
PHOTO = (384, 512)
"""Height and width of a photo file."""
FILES = 16 if QUICK else 256


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Photos and masks read from files with PIL and transformed by torchvision."""

    def __init__(self, folder: Path) -> None:
        self.photos = sorted(folder.glob("*.jpg"))
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop((SIZE, SIZE), scale=(0.6, 1.0), ratio=(0.8, 1.25), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        photo = Image.open(self.photos[index]).convert("RGB")
        mask = Image.open(self.photos[index].with_suffix(".png")).convert("L")
        return self.transform(photo, mask)


def write_photos(folder: Path) -> None:
    """Write photos with a mask each, as files and as a cache."""
    rng = np.random.default_rng(0)
    samples = []
    for index in range(FILES):
        coarse = rng.integers(0, 256, (PHOTO[0] // 8, PHOTO[1] // 8, 3), np.uint8)
        photo = images.resize_photo(coarse, PHOTO[1], PHOTO[0])
        mask = np.zeros(PHOTO, bool)
        mask[100:250, 150:300] = True
        images.write_photo(folder / f"{index:04d}.jpg", photo)
        images.write_mask(folder / f"{index:04d}.png", mask)
        small = images.resize_mask(mask, STORED, STORED).astype(np.uint8) * 255
        boxes = as_boxes([(75, 66, 150, 167)])
        pixels = images.resize_photo(photo, STORED, STORED)
        ones = np.ones(1, np.float32)
        split: Split = "train" if index else "val"
        samples.append(Sample(index, pixels, small, None, boxes, ones, "made", split, False, "", PHOTO[1], PHOTO[0]))
    (folder / "cache").mkdir()
    stamp = Stamp(SCHEMA, STORED, "none", "", "0", "0")
    write_shard(folder / "cache/shard-000-00000.h5", samples, [], stamp)
    write_index(folder / "cache", stamp)
