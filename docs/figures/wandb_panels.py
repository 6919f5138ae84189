"""What the saved W&B workspace shows of a run, panel by panel, read back from what the run wrote offline.

Command: python docs/figures/wandb_panels.py --runs '[runs/demo/wandb/offline-run-…]'; a test's run can follow
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forgeries
import numpy as np
from jsonargparse import auto_cli
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from boxpromptiml.apps.wandb_workspace.view import CURVES, ORDER, STEP

ACROSS = 4
"""Panels beside each other."""
ROWS = 2
"""Pictures of a panel, and rows of a table, that are shown."""
PICTURED = {"Pictures": ["panels"], "Worst cases": ["val/worst", "test/worst", "test/false_alarms"]}
HIDDEN = {"file", "mask_file"}
"""Columns that only say where a photo lies."""
BANK = ("memory/usage", "memory/similarity", "memory/prototypes")


@dataclass(frozen=True)
class Run:
    """An offline run: its folder and one mapping for each logging call."""

    folder: Path
    history: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Run:
        """By W&B's own reader."""
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
        records = [json.loads(line) for line in lines.splitlines()]
        return cls(folder, [record["history"]["item"] for record in records if record["type"] == "history"])

    def last(self, key: str) -> dict[str, Any] | None:
        """What was logged last under a key of a picture or table, without the key before each name."""
        found = [step for step in self.history if any(name.startswith(f"{key}.") for name in step)]
        return {name.removeprefix(f"{key}."): value for name, value in found[-1].items()} if found else None

    def picture(self, path: str) -> np.ndarray:
        """A picture that the run wrote."""
        return np.asarray(Image.open(self.folder / "files" / path).convert("RGB"))


def metrics(runs: Sequence[Run], wanted: Sequence[str] | str) -> list[str]:
    """Logged metrics that a panel draws."""
    logged = {key: None for run in runs for step in run.history for key in step}
    if isinstance(wanted, str):
        return sorted(key for key in logged if re.match(wanted, key))
    return [key for key in wanted if key in logged]


def curve(axis: Axes, title: str, runs: Sequence[Run], keys: Iterable[str]) -> None:
    """One panel of lines over training steps."""
    for key in keys:
        points = [(s[STEP], s[key]) for run in runs for s in run.history if key in s and STEP in s]
        axis.plot(*zip(*points, strict=True), lw=1.4, marker="o" if len(points) < 9 else "", ms=3, label=key)
    axis.set_title(title, fontsize=7.5, color=forgeries.INK)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=6, framealpha=0.6)


def curves(runs: Sequence[Run]) -> None:
    """Every panel of lines that has something to show, section by section."""
    panels = [
        (f"{section}: {title}", found)
        for section in ORDER
        for title, wanted in CURVES.get(section, {}).items()
        if (found := metrics(runs, wanted))
    ]
    down = math.ceil(len(panels) / ACROSS)
    figure = Figure(figsize=(2.9 * ACROSS, 2.1 * down), layout="constrained")
    axes = figure.subplots(down, ACROSS, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.axis("off")
    for axis, (title, keys) in zip(axes, panels, strict=False):
        curve(axis, title, runs, keys)
    forgeries.save(figure, "wandb_curves.png")


def table(run: Run, key: str) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table."""
    found = run.last(key)
    assert found is not None
    content = json.loads((run.folder / "files" / found["path"]).read_text(encoding="utf-8"))
    return content["columns"], content["data"]


def pictures(runs: Sequence[Run]) -> None:
    """The media panel and the tables of worst cases: strips of pictures, and what stands beside them."""
    strips: list[tuple[str, np.ndarray, str]] = []
    for section, keys in PICTURED.items():
        for key in keys:
            for run in (each for each in runs if each.last(key)):
                strips += [(f"{section}: {key}", *strip) for strip in _strips(run, key)]
    figure = Figure(figsize=(8.0, 1.65 * len(strips)), layout="constrained")
    for axis, (title, picture, words) in zip(figure.subplots(len(strips), 1, squeeze=False)[:, 0], strips, strict=True):
        forgeries.show(axis, picture)
        axis.set_anchor("W")
        axis.set_title(f"{title}   {words}", fontsize=8, color=forgeries.INK, loc="left")
    forgeries.save(figure, "wandb_pictures.jpg")


def _strips(run: Run, key: str) -> list[tuple[np.ndarray, str]]:
    found = run.last(key)
    assert found is not None
    if "filenames" in found:
        captions = found.get("captions") or [""] * len(found["filenames"])
        return [(run.picture(path), words) for path, words in zip(found["filenames"], captions, strict=True)][:ROWS]
    columns, rows = table(run, key)
    sheet = Image.open(run.folder.parents[1] / "fit/worst" / f"{key.replace('/', '-')}.png")  # tables have none offline
    strips = np.split(np.asarray(sheet.convert("RGB")), len(rows))
    kept = [i for i, name in enumerate(columns) if i and name not in HIDDEN]
    words = (", ".join(f"{columns[i]} {_short(row[i])}" for i in kept) for row in rows)
    return list(zip(strips, words, strict=True))[:ROWS]


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def bank(run: Run) -> None:
    """The panels of the memory bank: use by epoch, similarity, and the table of prototypes."""
    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    axes = figure.subplots(1, len(BANK))
    for axis, key in zip(axes[:2], BANK, strict=False):
        found = run.last(key)
        assert found is not None
        forgeries.show(axis, run.picture(found["path"]), f"{key}\n{found['caption']}")
    columns, rows = table(run, BANK[-1])
    axes[2].axis("off")
    axes[2].set_title(f"{BANK[-1]}\nmost read first", fontsize=10, color=forgeries.INK)
    cells = [[_short(value) for value in row] for row in rows[:9]]
    axes[2].table(cells, colLabels=columns, loc="center", edges="horizontal").scale(1, 1.25)
    forgeries.save(figure, "wandb_memory.png")


def main(runs: list[Path]) -> None:
    """Draw the figures.

    Args:
        runs: folders of offline runs, a training run first.
    """
    found = [Run.read(folder) for folder in runs]
    curves(found)
    pictures(found)
    bank(found[0])


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
