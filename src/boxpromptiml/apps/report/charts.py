"""Coordinates of line charts, which a template draws as SVG.

The charts thus follow the reader's light or dark theme, whereas the colours of matplotlib's SVG are fixed. Only
matplotlib's choice of axis ticks is used.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from boxpromptiml.core.records import InputError

WIDTH, HEIGHT = 320, 180
"""Size of the plot area in SVG units, without labels."""
MAX_POINTS = 400

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis, in SVG units."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        title: quantity on the y-axis.
        lines: name of each series → its vertices as SVG ``points``, x to the right, y downwards.
        x_ticks: ticks of the x-axis, from left to right.
        y_ticks: ticks of the y-axis, from bottom to top.
    """

    title: str
    lines: dict[str, str]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def line_chart(title: str, series: Mapping[str, Points]) -> Chart:
    """Lay out a chart whose axes span all series.

    Args:
        title: quantity on the y-axis.
        series: name → (x, y) points, at least one point overall; long series are thinned to 400 points.
    """
    xs, ys = zip(*(point for points in series.values() for point in points), strict=True)
    x_ticks, y_ticks = _nice_steps(min(xs), max(xs)), _nice_steps(min(ys), max(ys))
    left, right = min(xs), max(*xs, min(xs) + 1e-9)
    low, high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)

    def place(x: float, y: float) -> tuple[float, float]:
        return WIDTH * (x - left) / (right - left), HEIGHT * (high - y) / (high - low)

    return Chart(
        title=title,
        lines={name: " ".join("{:.1f},{:.1f}".format(*place(*p)) for p in _thin(series[name])) for name in series},
        x_ticks=[Tick(place(x, 0)[0], f"{x:g}") for x in x_ticks if left <= x <= right],
        y_ticks=[Tick(place(left, y)[1], f"{y:g}") for y in y_ticks],
    )


def training_curves(paths: Sequence[Path]) -> list[Chart]:
    """Create a chart for each quantity in the ``metrics.csv`` files of Lightning's CSVLogger, over training steps.

    A resumed run has several files, whose rows are concatenated. ``train/loss`` and ``val/loss`` share a chart named
    "loss", ``val/f1`` and its parts ``val/f1/SET`` one named "f1". Each row is one logging call, so most cells are
    empty; values that are not finite are omitted.

    Raises:
        InputError: a cell is not a number.
    """
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for numbers in itertools.chain.from_iterable(map(_rows, paths)):
        for column in numbers.keys() - {"step", "epoch"} if "step" in numbers else ():
            phase, _, quantity = column.partition("/")
            quantity, _, part = quantity.partition("/")
            if phase.startswith("lr-"):  # LearningRateMonitor's name for the rate of a parameter group
                phase, quantity = quantity or phase, "learning rate"
            points = panels.setdefault(quantity or phase, {}).setdefault(part or phase, [])
            points.append((numbers["step"], numbers[column]))
    return [line_chart(name.replace("_", " "), dict(sorted(panels[name].items()))) for name in sorted(panels)]


def _rows(path: Path) -> Iterator[dict[str, float]]:
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        for row in csv.DictReader(stream):
            yield _numbers(row, path)


def _numbers(row: Mapping[str, str], path: Path) -> dict[str, float]:
    try:
        numbers = {column: float(cell) for column, cell in row.items() if cell}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a table of numbers ({error}); delete it, and the next fit writes a new one"
        ) from None
    return {column: value for column, value in numbers.items() if math.isfinite(value)}


def _nice_steps(low: float, high: float) -> list[float]:
    """Choose round tick values covering ``low`` to ``high``; a range that is almost a single value is widened."""
    from matplotlib.ticker import MaxNLocator  # a slow import that only reports need

    room = 1e-3 * max(abs(low), abs(high)) or 1.0
    if high - low < room:
        low, high = low - room, high + room
    return [float(f"{step:.6g}") for step in MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def _thin(points: Points) -> Points:
    stride = math.ceil(len(points) / MAX_POINTS)
    return [*points[:-1:stride], points[-1]]
