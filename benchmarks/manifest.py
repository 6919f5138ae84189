"""Loading a manifest of a million images, compared with plain JSON and pycocotools."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from table import QUICK, seconds_and_peak, write_table

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import read_manifest, write_manifest

IMAGES = 10_000 if QUICK else 1_000_000


def main() -> None:
    """Load the same generated file in three ways, each in its own process."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "manifest.json"
        write_manifest(path, _records(path.parent))
        ways = {
            "ours, every box and name checked": _ours,
            "json.load, no check": _plain,
            "pycocotools.COCO": _coco,
        }
        measured = {way: seconds_and_peak(load, path) for way, load in ways.items()}
        megabytes = path.stat().st_size / 1e6
    seconds = measured["json.load, no check"][0]
    rows = [(way, taken, taken / seconds, peak) for way, (taken, peak) in measured.items()]
    write_table(
        "manifest",
        f"A manifest of {IMAGES:,} images and {_boxes(IMAGES):,} boxes ({megabytes:,.0f} MB)",
        ["way", "seconds", "× json.load", "peak memory, MB"],
        rows,
        "Generated entries. Peak resident memory above that of the started process.",
    )


def _boxes(images: int) -> int:
    return images + images // 5


def _records(root: Path) -> list[ImageRecord]:
    """Generate records with 1.2 boxes per image on average."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (IMAGES, 2, 2)).round(2)
    records = []
    for index, places in enumerate(corners.tolist()):
        rows = [[x, y, x + 40, y + 50] for x, y in places[: 1 + (index % 5 == 0)]]
        records.append(
            ImageRecord(
                image_id=index + 1,
                path=root / f"images/{index % 1000:03d}/{index:08d}.jpg",
                width=320,
                height=256,
                boxes_xyxy=as_boxes(rows),
                split="train",
                source="generated",
                mask_path=root / f"masks/{index % 1000:03d}/{index:08d}.png",
            )
        )
    return records


def _ours(path: Path) -> Any:
    return read_manifest(path)


def _plain(path: Path) -> Any:
    with path.open("rb") as stream:
        return json.load(stream)


def _coco(path: Path) -> Any:
    from pycocotools.coco import COCO

    return COCO(str(path))


if __name__ == "__main__":
    main()
