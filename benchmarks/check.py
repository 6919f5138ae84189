"""The command `check`: images per second by number of processes, and the search for similar hashes."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from PIL import Image
from table import QUICK, seconds_each, write_table

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.check.command import check
from boxpromptiml.datasets.check.hamming import near_pairs
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.synthesis.photos import packaged_photos

IMAGES = 60 if QUICK else 2_000
HASHES = 2_000 if QUICK else 100_000
WIDTH, HEIGHT = 384, 256
DISTANCE = 14


def main() -> None:
    """Time the whole command, and its only part that is quadratic if implemented naively."""
    with tempfile.TemporaryDirectory() as name:
        manifest = _data_set(Path(name))
        counts = sorted({1, 2, os.cpu_count() or 1})
        ways: dict[str, Callable[[], Any]] = {
            f"check, {count} process{'es' * (count > 1)}": partial(_quietly, manifest, count) for count in counts
        }
        ways["PIL and imagehash, each with each"] = partial(_obvious, manifest.parent)
        rows = _rows(IMAGES, seconds_each(ways))
    hashes = np.random.default_rng(0).integers(0, 2**63, HASHES, np.uint64)
    search = {
        "search alone, ours": lambda: near_pairs(hashes, hashes, DISTANCE),
        "search alone, numpy, each with each": lambda: _each_with_each(hashes),
    }
    write_table(
        "check",
        f"Checking {IMAGES:,} JPEG images of {WIDTH}×{HEIGHT} with a PNG mask each; searching {HASHES:,} hashes",
        ["way", "images", "seconds", "images/s", "× the obvious way"],
        [*rows, *_rows(HASHES, seconds_each(search, repeats=1))],
        "Median of three runs in turns, the search once. Check: start of processes, check.json and check.png included. "
        "The obvious way decodes images only, in one process, and compares hashes with imagehash's own difference; "
        "it looks at no mask, box or label and does not confirm what it finds.",
    )


def _rows(count: int, seconds: dict[str, float]) -> list[tuple[str, int, float, float, float]]:
    """Format the rows of a table; the last way is the baseline."""
    obvious = list(seconds.values())[-1]
    return [(way, count, taken, count / taken, obvious / taken) for way, taken in seconds.items()]


def _data_set(folder: Path) -> Path:
    """Create crops of the packaged photos with a square mask each; return their manifest."""
    photos = [images.read_photo(photo.path) for photo in packaged_photos()]
    rng = np.random.default_rng(0)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[100:180, 120:220] = True
    records = []
    for index in range(IMAGES):
        photo = photos[index % len(photos)]
        height = rng.integers(photo.shape[0] // 3, photo.shape[0])
        width = rng.integers(photo.shape[1] // 3, photo.shape[1])
        top, left = rng.integers(photo.shape[0] - height), rng.integers(photo.shape[1] - width)
        path, mask_path = folder / f"{index}.jpg", folder / f"{index}.png"
        images.write_photo(path, images.resize_photo(photo[top : top + height, left : left + width], WIDTH, HEIGHT))
        images.write_mask(mask_path, mask)
        boxes = as_boxes([(110, 90, 230, 190)])
        records.append(ImageRecord(index + 1, path, WIDTH, HEIGHT, boxes, "train", "crops", mask_path))
    write_manifest(folder / "manifest.json", records)
    return folder / "manifest.json"


def _quietly(manifest: Path, workers: int) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        check(manifest, workers=workers)


def _obvious(folder: Path) -> int:
    hashes = [imagehash.phash(Image.open(path)) for path in sorted(folder.glob("*.jpg"))]
    return sum(one - other <= DISTANCE for i, one in enumerate(hashes) for other in hashes[:i])


def _each_with_each(hashes: np.ndarray) -> int:
    return sum(int((np.bitwise_count(hashes ^ one) <= DISTANCE).sum()) for one in hashes)


if __name__ == "__main__":
    main()
