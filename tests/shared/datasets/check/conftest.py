"""A small valid data set on disk, which each test spoils in a different way."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.check.findings import Limits
from boxpromptiml.datasets.check.measure import Entry, measure
from boxpromptiml.manifests.manifest import write_manifest

WIDTH, HEIGHT = 96, 80


def draw_scene(seed):
    """Smooth noise of shape (80, 96, 3); scenes of different seeds differ as much as two photos."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH, 3))
    smooth = sum(cv2.GaussianBlur(noise, (0, 0), HEIGHT / share) * HEIGHT / share for share in (8, 16, 40))
    return np.uint8(np.clip(128 + 90 * smooth, 0, 255))


@dataclass
class DataSet:
    """Manifest entries with files in a folder; pixels 24 to 52 by 20 to 48 are manipulated, with a box around them."""

    folder: Path
    records: list[ImageRecord]

    def add(self, photo, split, authentic=False, suffix="png"):
        image_id = len(self.records) + 1
        path, mask_path = self.folder / f"{image_id}.{suffix}", self.folder / f"{image_id}_mask.png"
        images.write_photo(path, photo)
        height, width = photo.shape[:2]
        if not authentic:
            mask = np.zeros((height, width), bool)
            mask[20:48, 24:52] = True
            images.write_mask(mask_path, mask)
        boxes = as_boxes([] if authentic else [(20, 16, 60, 56)])
        mask_of = None if authentic else mask_path
        self.records.append(ImageRecord(image_id, path, width, height, boxes, split, "set", mask_of, authentic))

    def change(self, image_id, **values):
        self.records = [replace(old, **values) if old.image_id == image_id else old for old in self.records]

    def entry(self, image_id):
        (record,) = (record for record in self.records if record.image_id == image_id)
        return Entry(self.folder / "set.json", record, measure(record))

    def write(self, name="set.json", splits=("train", "val", "test")):
        write_manifest(self.folder / name, [record for record in self.records if record.split in splits])
        return self.folder / name


@pytest.fixture(scope="session")
def scene():
    return draw_scene


@pytest.fixture
def clean(tmp_path):
    """Images 1 to 9 of nine scenes: four in train, two in val, three in test; 3, 6 and 9 are authentic."""
    data = DataSet(tmp_path, [])
    for seed, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 3):
        data.add(draw_scene(seed), split, authentic=seed % 3 == 2)
    return data


@pytest.fixture
def limits():
    return Limits(outside=0.1, full=0.9, distance=14, mirrored=True)
