"""Forgeries a second: by recipe, by number of processes, with files and as a stream."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from table import QUICK, write_table

from boxpromptiml.synthesis.generate import synthesize
from boxpromptiml.synthesis.recipe import KINDS, Recipe, Traces
from boxpromptiml.synthesis.stream import ForgeryStream

IMAGES = 40 if QUICK else 1200
SIZE = 160
NOTHING = Traces()
PLAIN = Recipe(
    objects=0, segments=0, transform=0, feather=0, poisson=0, colour_match=0,
    host=NOTHING, donor=NOTHING, finish=NOTHING, canvas=(1, 1), aspect=(1, 1),
)  # fmt: skip


def main() -> None:
    """Time whole runs, process start included, and write the table."""
    counts = sorted({1, 2, os.cpu_count() or 1})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speeds: dict[tuple[str, int], list[float]] = {}
        for turn in range(1 if QUICK else 3):
            for workers in counts:
                for label, recipe in (("plain", PLAIN), ("full", Recipe())):
                    seconds = _seconds(folder / "out", recipe, workers)
                    speeds.setdefault((label, workers), []).append(IMAGES / seconds)
            speeds.setdefault(("full, as a stream", 1), []).append(_streamed(folder / f"stream-{turn}"))
    middle = {key: sorted(values)[len(values) // 2] for key, values in speeds.items()}
    rows = [
        (label, workers, speed, speed / middle[label if (label, 1) in middle else "full", 1])
        for (label, workers), speed in middle.items()
    ]
    write_table(
        "synthesis",
        f"Synthesis of {IMAGES} forgeries of {SIZE} pixels from the packaged photos",
        ["recipe", "processes", "images/s", "× one process"],
        rows,
        "Median of three runs in turns, starting of processes and writing of PNG files included. A stream writes no "
        "files and runs in as many loader workers as a student's DataLoader has.",
    )


def _seconds(out: Path, recipe: Recipe, workers: int) -> float:
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    synthesize(out, train=IMAGES, val=0, test=0, size=SIZE, kinds=KINDS, recipe=recipe, workers=workers)
    return time.perf_counter() - start


def _streamed(out: Path) -> float:
    synthesize(out, train=IMAGES, val=0, test=0, size=SIZE, stream_train=True, workers=1)
    stream = ForgeryStream(str(out), IMAGES)
    start = time.perf_counter()
    for index in range(IMAGES):
        stream.draw(index, 0)
    return IMAGES / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
