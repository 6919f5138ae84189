"""Resident memory of stage one over many images, to show that it does not grow with their number."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from table import QUICK, RESULTS, write_table

from boxpromptiml import images
from boxpromptiml.core.boxes import Boxes, as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.images import Photo
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.shards import read_index
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers import Candidates, Size, Teacher

IMAGES = 300 if QUICK else int(os.environ.get("IMAGES", "100000"))
FILES = 500
"""Number of different photos; each is linked under many names."""
SIDE = 32
EVERY = 0.05 if QUICK else 1.0
"""Interval of measurements in seconds."""


class Certain(Teacher):
    """Teacher that returns the boxes themselves, so that only the code around the teacher is measured."""

    @property
    def name(self) -> str:
        """Name of the teacher."""
        return "certain"

    @property
    def settings(self) -> dict[str, Any]:
        """No settings."""
        return {}

    def preparation(self) -> Callable[[Photo], Photo]:
        """Return a function that keeps the photo unchanged."""
        return np.asarray

    def embed(self, photos: Sequence[Photo]) -> Any:
        """Return nothing, because `propose` needs no embedding."""

    def propose(self, embedding: Any, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """Propose ones everywhere, which the selection restricts to the boxes."""
        return [
            Candidates(np.ones((len(of_image), 1, height, width), np.float32), np.ones((len(of_image), 1), np.float32))
            for of_image, (width, height) in zip(boxes, frames, strict=True)
        ]


def main() -> None:
    """Run stage one in its own process, sample its memory, and plot the curve."""
    with tempfile.TemporaryDirectory() as name:
        manifest, cache = _manifest(Path(name)), Path(name) / "cache"
        process = get_context("spawn").Process(target=_run, args=(manifest, cache))
        process.start()
        started, looks = time.perf_counter(), []
        while process.is_alive():
            parts = sum(1 for _ in cache.glob("shard-*")) if cache.exists() else 0
            looks.append((min(parts * 64, IMAGES), _megabytes(process.pid)))
            time.sleep(EVERY)
        seconds = time.perf_counter() - started
        done = read_index(cache).samples
    # The startup is excluded: the curve begins with the first finished shard.
    curve = [(count, resident) for count, resident in looks if count and resident]
    marks = {"first shard": 0.0, "10 %": 0.1, "50 %": 0.5, "90 %": 0.9, "end": 1.0}
    rows = []
    for label, share in marks.items():
        count, resident = next(((c, r) for c, r in curve if c >= share * curve[-1][0]), curve[-1])
        rows.append((label, count, resident, resident - curve[0][1]))
    if not QUICK:
        _draw(curve)
    write_table(
        "memory",
        f"Resident memory of stage one over {done:,} images, in {seconds:,.0f} s",
        ["when", "images done", "resident memory, MB", "more than at the first shard, MB"],
        rows,
        f"Generated images of {SIDE} pixels and a teacher that does nothing, through `pseudomasks` with one process, "
        "shards of 64 and batches of 64. The manifest stays in memory, and each of its paths remembers its text once "
        "it was opened, some 90 bytes. Curve: memory.png.",
    )


def _manifest(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for index in range(FILES):
        images.write_photo(folder / f"{index}.png", rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
    records = []
    for index in range(IMAGES):
        path = folder / f"photos/{index:06d}.png"
        path.hardlink_to(folder / f"{index % FILES}.png")
        records.append(ImageRecord(index, path, SIDE, SIDE, as_boxes([(4, 4, 20, 24)]), "train", "generated"))
    write_manifest(folder / "manifest.json", records)
    return folder / "manifest.json"


def _run(manifest: Path, cache: Path) -> None:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        pseudomasks(manifest, cache, Certain(), SIDE, batch_size=64, workers=0, accelerator="cpu", devices=1)


def _megabytes(pid: int | None) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # the process has just ended
        return 0.0
    return pages * resource.getpagesize() / 2**20


def _draw(curve: Sequence[tuple[int, float]]) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(*zip(*curve, strict=True))
    axes.set(xlabel="images done", ylabel="resident memory, MB", ylim=(0, 1.1 * max(resident for _, resident in curve)))
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "memory.png", dpi=120)


if __name__ == "__main__":
    if not Path("/proc/self/statm").exists():
        sys.exit("resident memory is read from /proc, which only Linux has")
    main()
