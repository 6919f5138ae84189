"""Report on robustness: scores by level with intervals, retained fractions, tables and a plot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.atomic_files import atomic_path
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.scoring.protocol import Scoring
from boxpromptiml.scoring.score_functions import bootstrap_interval_of
from boxpromptiml.scoring.tables import cell
from stage2_distill.data.degradations import KINDS, Degradation
from stage2_distill.evaluation.metrics import COLUMNS
from stage2_distill.evaluation.score_report import Rows, false_alarms, means

MEASURES = ("f1", "iou", "auc")
DRAWN = {"f1": "F1", "auc": "AUC"}
PANELS = 4
"""Number of panels per row of the plot."""
HEADER = ("degradation", "F1 by level", "F1 kept (95 % interval)", "AUC kept (95 % interval)")
LEVELS_HEADER = ("degradation", "level", "F1 (95 % interval)", "IoU", "AUC", "false alarms: pixels, images")
NOTE = (
    "Kept: area under the curve of score against level, divided by the area if the score stayed as on unchanged "
    "photos; 1 means nothing is lost. Curves start at the level that changes nothing, except for JPEG"
)


def summarize(
    clean: Rows, degraded: Mapping[Degradation, Rows], sets: Mapping[str, Sequence[ImageRecord]]
) -> dict[str, dict[str, Any]]:
    """Summarize the scores of each test set, original and at each level, and the fractions retained.

    Args:
        clean: rows of `ImageScores.compute` for the original photos.
        degraded: the same for each degradation.
        sets: name → records, in the order of the rows' set indices.
    """
    summary: dict[str, dict[str, Any]] = {}
    for position, (name, records) in enumerate(sets.items()):
        authentic = np.array([record.authentic for record in records])
        base, *curves = (_of_set(rows, position, authentic) for rows in (clean, *degraded.values()))
        of_kind: dict[str, dict[float, tuple[Rows, Rows]]] = {}
        for degradation, rows in zip(degraded, curves, strict=True):
            of_kind.setdefault(degradation.kind, {})[degradation.level] = rows
        summary[name] = {
            "clean": _scores(*base),
            "degraded": {
                kind: {
                    "levels": [{"level": level, **_scores(*levels[level])} for level in _by_harm(kind, levels)],
                    "kept": _kept(kind, base[0], {level: manipulated for level, (manipulated, _) in levels.items()}),
                }
                for kind, levels in of_kind.items()
            },
        }
    return summary


def text(summary: Mapping[str, Any]) -> str:
    """Format for the terminal: a block per test set with a line per kind of degradation."""
    lines = []
    for name, row in summary.items():
        lines.append(f"{name}: {row['clean']['images']} images, {_as_they_are(row['clean'])}")
        rows = [HEADER, *_brief(row)]
        widths = [max(len(line[column]) for line in rows) for column in range(len(HEADER))]
        lines += [
            "  " + "   ".join(cell_text.ljust(width) for cell_text, width in zip(line, widths, strict=True)).rstrip()
            for line in rows
        ]
    return "\n".join([*lines, f"{NOTE}."])


def markdown(summary: Mapping[str, Any], scoring: Scoring) -> str:
    """Format GitHub tables: for each test set the fractions retained, and every level."""
    parts = []
    for name, row in summary.items():
        parts += [f"## {name}", f"{row['clean']['images']} images. {_as_they_are(row['clean'])}."]
        parts += [_table(HEADER, _brief(row)), _table(LEVELS_HEADER, _detailed(row))]
    rules = f"Scored by these rules, which docs/metrics.md explains: {scoring}."
    return "\n\n".join([*parts, f"{NOTE}.", rules]) + "\n"


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Plot F1 and AUC with 95 % intervals, in a panel for each kind of degradation and test set."""
    from matplotlib.figure import Figure  # a slow import that most commands do not need

    kinds = list(next(iter(summary.values()))["degraded"])
    across = min(len(kinds), PANELS)
    rows = -(-len(kinds) // across)
    figure = Figure(figsize=(3 * across, 2.6 * rows * len(summary)), layout="constrained", dpi=100)
    panels = figure.subplots(rows * len(summary), across, squeeze=False, sharey=True).reshape(len(summary), -1)
    for of_set, (name, row) in zip(panels, summary.items(), strict=True):
        for axes, kind in zip(of_set, kinds, strict=False):
            for colour, (measure, title) in zip(("C0", "C1"), DRAWN.items(), strict=True):
                _line(axes, row["clean"], row["degraded"][kind]["levels"], KINDS[kind].neutral, measure, colour, title)
            axes.set_title(KINDS[kind].title, fontsize=9)
            axes.set_ylim(0, 1)
            if KINDS[kind].falling:
                axes.invert_xaxis()  # stronger degradation to the right
        of_set[0].set_ylabel(name)
        of_set[0].legend(fontsize=8)
        for unused in of_set[len(kinds) :]:
            unused.set_axis_off()
    with atomic_path(path) as partial:
        figure.savefig(partial, format=path.suffix[1:])


def _line(
    axes: Any,
    clean: Mapping[str, Any],
    levels: Sequence[Mapping[str, Any]],
    neutral: float | None,
    measure: str,
    colour: str,
    title: str,
) -> None:
    if measure in clean:
        axes.axhline(clean[measure], color=colour, linestyle=":", linewidth=1)
    start = [] if neutral is None else [{"level": neutral, **clean}]
    points = sorted((row for row in [*start, *levels] if measure in row), key=lambda row: row["level"])
    x, y, low, high = (
        [p[key] for p in points] for key in ("level", measure, f"{measure}_ci_low", f"{measure}_ci_high")
    )
    axes.plot(x, y, marker=".", color=colour, label=title)
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _of_set(rows: Rows, position: int, authentic: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Return the rows of a set's readable images: manipulated and authentic ones."""
    of_set = rows[(rows[:, 0] == position) & ~np.isnan(rows[:, COLUMNS.index("f1")])]
    is_authentic = authentic[of_set[:, 1].astype(int)]
    return of_set[~is_authentic], of_set[is_authentic]


def _by_harm(kind: str, levels: Iterable[float]) -> list[float]:
    return sorted(levels, reverse=KINDS[kind].falling)


def _scores(manipulated: Rows, authentic: Rows) -> dict[str, Any]:
    scores = means({name: manipulated[:, COLUMNS.index(name)] for name in MEASURES})
    return {"images": len(manipulated), **scores, **false_alarms(authentic)}


def _kept(kind: str, clean: Rows, levels: Mapping[float, Rows]) -> dict[str, float]:
    """Compute the area under the F1 and AUC curves relative to the original scores, with bootstrap intervals."""
    neutral = KINDS[kind].neutral
    curve = {**levels, **({} if neutral is None else {neutral: clean})}
    index = COLUMNS.index("index")
    everywhere = reduce(np.intersect1d, [rows[:, index] for rows in (clean, *curve.values())])
    clean, *curves = (rows[np.isin(rows[:, index], everywhere)] for rows in (clean, *curve.values()))
    curve = dict(zip(curve, curves, strict=True))  # a region can vanish at some levels, and with it the image's row
    kept: dict[str, float] = {}
    for name in DRAWN:
        column = COLUMNS.index(name)
        base, scores = clean[:, column], np.stack([curve[level][:, column] for level in sorted(curve)])
        there = ~np.isnan(base) & ~np.isnan(scores).any(0)  # small regions can vanish when the photo is shrunk
        if there.any() and base[there].any():
            kept |= _ratio(name, _mean_height(sorted(curve), scores[:, there]), base[there])
    return kept


def _mean_height(levels: Sequence[float], scores: Rows) -> Rows:
    """Mean height (N,) of each image's curve (L, N), by the trapezoidal rule."""
    span = levels[-1] - levels[0]
    return scores[0] if span == 0 else np.asarray(np.trapezoid(scores, levels, axis=0)) / span


def _ratio(name: str, heights: Rows, base: Rows) -> dict[str, float]:
    def ratio(images: NDArray[np.intp], axis: int = -1) -> Rows:
        drawn = images.astype(int)
        return heights[drawn].mean(axis) / base[drawn].mean(axis).clip(1e-9)

    images = np.arange(len(base))
    low, high = bootstrap_interval_of(ratio, images.astype(float))
    return {name: float(ratio(images)), f"{name}_ci_low": low, f"{name}_ci_high": high}


def _as_they_are(clean: Mapping[str, Any]) -> str:
    return f"as they are: F1 {_with_interval(clean, 'f1')}, IoU {cell(clean, 'iou')}, AUC {cell(clean, 'auc')}"


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    return cell(row, name, interval=name in row).strip()


def _brief(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, curve in row["degraded"].items():
        by_level = ", ".join(f"{level['level']:g}: {cell(level, 'f1')}" for level in curve["levels"])
        yield KINDS[kind].title, by_level, _with_interval(curve["kept"], "f1"), _with_interval(curve["kept"], "auc")


def _detailed(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, curve in row["degraded"].items():
        for level in curve["levels"]:
            scores = _with_interval(level, "f1"), cell(level, "iou"), cell(level, "auc")
            yield KINDS[kind].title, f"{level['level']:g}", *scores, _alarms(level)


def _alarms(row: Mapping[str, Any]) -> str:
    return "{false_alarm_area:.1%}, {false_alarm_rate:.1%}".format(**row) if "images_authentic" in row else "–"


def _table(header: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str.strip, row))} |" for row in rows)])
