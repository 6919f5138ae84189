"""Forgeries per second: by recipe, by number of processes, with files and as a stream."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import cv2
from table import QUICK, write_table

from boxpromptiml.synthesis.generate import synthesize
from boxpromptiml.synthesis.recipe import KINDS, Recipe, Traces
from boxpromptiml.synthesis.stream import ForgeryStream

IMAGES = 160 if QUICK else 800
FEW = 64
"""Number of images in a short run, which shows the startup time."""
SIZE = 160
NOTHING = Traces()
PLAIN = Recipe(
    objects=0, segments=0, transform=0, feather=0, poisson=0, colour_match=0,
    host=NOTHING, donor=NOTHING, finish=NOTHING, canvas=(1, 1), aspect=(1, 1),
)  # fmt: skip


def main() -> None:
    """Time complete runs with many and with few images, whose difference excludes the startup; write the table."""
    cv2.setNumThreads(1)  # as in pool workers, so that one process uses one core
    counts = sorted({1, 2, os.cpu_count() or 1})
    recipes = {"plain": PLAIN, "full": Recipe()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways: dict[tuple[str, int], Callable[[int], float]] = {
            (label, workers): partial(_seconds, folder / "out", recipe, workers)
            for workers in counts
            for label, recipe in recipes.items()
        }
        synthesize(folder / "stream", train=FEW, val=0, test=0, size=SIZE, stream_train=True, workers=1)
        ways["full, as a stream", 1] = partial(_streamed, folder / "stream")
        speeds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
        starts: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
        for _ in range(1 if QUICK else 3):
            for way, seconds_of in ways.items():
                few, many = seconds_of(FEW), seconds_of(IMAGES)
                speed = (IMAGES - FEW) / (many - few)
                speeds[way].append(speed)
                starts[way].append(few - FEW / speed)
    middle = {way: median(measured) for way, measured in speeds.items()}
    alone = {label: middle[label if label in recipes else "full", 1] for label, _ in ways}
    rows = [
        (label, workers, median(starts[label, workers]), speed, speed / alone[label])
        for (label, workers), speed in middle.items()
    ]
    write_table(
        "synthesis",
        f"Synthesis of {IMAGES:,} forgeries of {SIZE} pixels from the packaged photos",
        ["recipe", "processes", "seconds to start", "images/s after that", "× one process"],
        rows,
        "Median of three runs in turns, writing of PNG files included; one thread in each process. A stream writes no "
        "files and runs in as many loader workers as a student's DataLoader has.",
    )


def _seconds(out: Path, recipe: Recipe, workers: int, images: int) -> float:
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    synthesize(out, train=images, val=0, test=0, size=SIZE, kinds=KINDS, recipe=recipe, workers=workers)
    return time.perf_counter() - start


def _streamed(folder: Path, images: int) -> float:
    start = time.perf_counter()
    stream = ForgeryStream(str(folder), images)
    for index in range(images):
        stream.draw(index, 0)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
