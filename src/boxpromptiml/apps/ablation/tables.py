"""Tables and figures from the scores of a study's runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boxpromptiml.apps.ablation.plan import Study
from boxpromptiml.apps.compare import ScoreName, common_images, difference, scores_of_images
from boxpromptiml.apps.run_results import Ablation, AblationRow, Difference, Scores, StudyRows, read_scores
from boxpromptiml.core.atomic_files import atomic_path
from boxpromptiml.core.records import InputError

if TYPE_CHECKING:  # a slow import that only drawing needs
    from matplotlib.axes import Axes

SCORES: tuple[ScoreName, ...] = ("f1", "iou", "auc")
MARGINS, ROW_HEIGHT = 0.9, 0.28
"""Dimensions in inches of a figure with a row per variant and set."""
GAP = 0.6
"""Gap between two sets in such a figure, in rows."""


def study_rows(study: Study, files: Mapping[str, Sequence[Path]]) -> StudyRows:
    """Compute a row for each test set (or pool) and variant with scores; no rows if the reference has none.

    Args:
        study: the study.
        files: variant → scores.json of its runs; missing files are ignored.

    Raises:
        InputError: a set has no scores, runs were scored on different images, or a file was not written by
            `boxpromptiml test`.
    """
    answered = StudyRows(study.question, study.reference, [], study.axis)
    read = {label: {path: read_scores(path) for path in paths if path.exists()} for label, paths in files.items()}
    tested = {label: runs for label, runs in read.items() if runs}
    if study.reference in tested:
        reference = tested[study.reference]
        scored = next(iter(reference.values())).sets
        forged = [name for name, of_set in scored.items() if of_set.images]
        groups = {name: [name] for name in study.sets or forged} | study.pools
        if absent := [name for members in groups.values() for name in members if name not in scored]:
            raise InputError(f"no scores for {', '.join(absent)}; the runs have scores for: {', '.join(scored)}")
        answered.rows = [
            _row(label, name, members, runs, reference)
            for name, members in groups.items()
            for label, runs in tested.items()
        ]
    return answered


def markdown(studies: Mapping[str, Study], ablation: Ablation) -> str:
    """Format a section per study: question, table, figure."""
    lines = ["# Ablation", ""]
    for name, answered in ablation.studies.items():
        lines += [f"## {name.replace('_', ' ').capitalize()}", "", answered.question, ""]
        if answered.rows:
            lines += [*_table(answered), "", f"![{answered.question}]({name}.png)", ""]
        if missing := [label for label in studies[name].variants if label not in {r.variant for r in answered.rows}]:
            lines += [f"Not finished: {', '.join(missing)}.", ""]
    return "\n".join(
        [
            *lines,
            f"Means over manipulated images and seeds {', '.join(map(str, ablation.seeds))}, with 95 % intervals of a "
            "bootstrap over images and seeds; differences are paired by image.",
            "",
            f"Command: `{ablation.command}`",
            "",
            f"Machine and versions: {', '.join(f'{name} {of}' for name, of in ablation.environment.items())}.",
            "",
        ]
    )


def draw(answered: StudyRows, path: Path) -> None:
    """Plot F1 with its interval as PNG: along the study's axis, or as a row per variant."""
    from matplotlib.figure import Figure

    rows = answered.rows
    tall = len(rows) + GAP * len({row.set_name for row in rows})
    figure = Figure(figsize=(6.4, 3.2 if answered.axis else MARGINS + ROW_HEIGHT * tall), layout="constrained")
    axes = figure.subplots()
    (_along_axis if answered.axis else _by_variant)(axes, answered)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y" if answered.axis else "x", color="0.9")
    axes.set_axisbelow(True)
    with atomic_path(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], dpi=120)


def _row(
    label: str, name: str, members: Sequence[str], runs: Mapping[Path, Scores], reference: Mapping[Path, Scores]
) -> AblationRow:
    found = {}
    for score in SCORES:
        before, after = ([scores_of_images(run, score, members) for run in side.values()] for side in (reference, runs))
        images = common_images([*reference, *runs], [*before, *after])
        old, new = (np.array([[run[image] for image in images] for run in side]) for side in (before, after))
        found[score] = difference(old, new, np.random.default_rng(0))
    f1, iou, auc = (found[score] for score in SCORES)
    row = AblationRow(
        variant=label,
        set_name=name,
        images=f1["images"],
        f1=f1["candidate"],
        f1_ci_low=f1["candidate_ci_low"],
        f1_ci_high=f1["candidate_ci_high"],
        iou=iou["candidate"],
        auc=auc["candidate"],
        f1_runs=f1["candidate_runs"],
    )
    if runs is not reference:
        row.f1_difference = _difference(f1)
        row.auc_difference = _difference(auc)
    return row


def _difference(found: Mapping[str, Any]) -> Difference:
    return Difference(found["difference"], found["difference_ci_low"], found["difference_ci_high"])


def _table(answered: StudyRows) -> list[str]:
    several = len({row.set_name for row in answered.rows}) > 1
    sets = ["test set"] if several else []
    header = [*sets, answered.axis or "variant", "images", "runs", "F1", "IoU", "AUC"]
    header += [f"{score} − {answered.reference}" for score in ("F1", "AUC")]
    lines = ["| " + " | ".join(header) + " |", "|---" * (1 + several) + "|---:|---:" + "|---" * 5 + "|"]
    for row in answered.rows:
        cells = [*([row.set_name] if several else []), row.variant, f"{row.images}", f"{len(row.f1_runs)}"]
        cells += [f"{row.f1:.3f} ({row.f1_ci_low:.3f} to {row.f1_ci_high:.3f})", f"{row.iou:.3f}", f"{row.auc:.3f}"]
        cells += [_written(row.f1_difference), _written(row.auc_difference)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _written(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    return f"{difference.mean:+.3f} ({difference.ci_low:+.3f} to {difference.ci_high:+.3f})"


def _along_axis(axes: Axes, answered: StudyRows) -> None:
    sets = list(dict.fromkeys(row.set_name for row in answered.rows))
    for name in sets:
        rows = sorted((row for row in answered.rows if row.set_name == name), key=lambda row: float(row.variant))
        xs, ys = [float(row.variant) for row in rows], [row.f1 for row in rows]
        axes.errorbar(xs, ys, _lengths(rows), marker="o", capsize=3, label=name)
    axes.set_xlabel(answered.axis or "")
    axes.set_ylabel("F1")
    axes.set_ylim(bottom=0)
    if len(sets) > 1:
        axes.legend(frameon=False)


def _by_variant(axes: Axes, answered: StudyRows) -> None:
    rows = answered.rows
    colours = {label: f"C{i}" for i, label in enumerate(dict.fromkeys(row.variant for row in rows))}
    sets = list(dict.fromkeys(row.set_name for row in rows))
    places = [i + GAP * sets.index(row.set_name) for i, row in enumerate(rows)]
    for place, row in zip(places, rows, strict=True):
        marker = "s" if row.variant == answered.reference else "o"
        axes.errorbar(row.f1, place, xerr=_lengths([row]), fmt=marker, color=colours[row.variant], capsize=3)
    names = [f"{row.set_name}: {row.variant}" if len(sets) > 1 else row.variant for row in rows]
    axes.set_yticks(places, names)
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("F1")


def _lengths(rows: Sequence[AblationRow]) -> list[list[float]]:
    """Return the lengths of the rows' error bars, downwards and upwards."""
    return [[row.f1 - row.f1_ci_low for row in rows], [row.f1_ci_high - row.f1 for row in rows]]
