"""Tables of test scores beside published ones: text for the terminal, Markdown and LaTeX.

The input is what `boxpromptiml test` writes under ``sets`` in scores.json. Missing scores are shown as a dash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boxpromptiml.scoring.protocol import IMAGES, IN_DISTRIBUTION, SOURCE, Scoring, published, set_key

Row = Mapping[str, Any]
DASH = "  –  "
HEADER = (
    *("test set", "images", "F1 (95 % interval)", "IoU", "AUC", "best F1 per image", "best F1 per set (at)"),
    *("image AUC", "balanced accuracy", "false alarms: pixels, images", "published F1"),
)
TEX = str.maketrans(
    {character: f"\\{character}" for character in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "–": "--"}
)
"""Escapes of LaTeX's special characters."""


def cell(row: Row, name: str, interval: bool = False) -> str:
    """Format a score with three decimals, optionally with its confidence interval; a dash if it is missing."""
    parts = [f"{row[key]:.3f}" if key in row else DASH for key in (name, f"{name}_ci_low", f"{name}_ci_high")]
    return "{} ({} to {})".format(*parts) if interval else parts[0]


def text(summary: Mapping[str, Row]) -> str:
    """Format a row per test set beside trivial baselines, with rows per manipulation kind and area below it.

    Column ``best`` is F1 with the best threshold of each image.
    """
    lines = [f"{'test set':<16} images   F1 (95 % interval)     IoU    AUC    best   all    random  centre box"]
    for name, row in summary.items():
        for label, part in (name, row), *((f"  {label}", part) for label, part in _parts(row)):
            numbers = "  ".join(cell(part, key) for key in ("iou", "auc", "f1_best_per_image", "f1_all_positive"))
            trivial = f"{cell(part, 'f1_random')}   {cell(part, 'f1_centre_box')}"
            f1 = cell(part, "f1", interval=True)
            lines.append(f"{label:<16} {part['images']:>6}   {f1}  {numbers}  {trivial}")
        if "images_authentic" in row:
            alarms = f"{row['false_alarm_area']:.1%} of pixels, in {row['false_alarm_rate']:.1%} of images"
            lines.append(f"{'  authentic':<16} {row['images_authentic']:>6}   marked by mistake: {alarms}")
        if "image_auc" in row:
            accuracy = cell(row, "image_balanced_accuracy")
            images = row["images"] + row["images_authentic"]
            auc = cell(row, "image_auc")
            lines.append(f"{'  whole images':<16} {images:>6}   AUC {auc}, balanced accuracy {accuracy}")
        if beside := published(name):
            images = IMAGES.get(set_key(name), "")
            lines.append(f"{'  published':<16} {images:>6}   F1: {', '.join(map(str, beside))}")
    return "\n".join(lines)


def markdown(summary: Mapping[str, Row], scoring: Scoring) -> str:
    """Format a GitHub table, followed by the scoring options and the sources."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---|" + "---:|" * (len(HEADER) - 2) + "---|"]
    lines += ["| " + " | ".join(cell_text.replace("|", r"\|") for cell_text in row) + " |" for row in _rows(summary)]
    return "\n".join([*lines, "", *(f"- {note}." for note in _notes(summary, scoring)), ""])


def latex(summary: Mapping[str, Row], scoring: Scoring) -> str:
    r"""Format a tabular for ``\usepackage{booktabs}`` (UTF-8), with the scoring options and the sources as comments."""
    rows = [" & ".join(cell_text.translate(TEX) for cell_text in row) + r" \\" for row in (HEADER, *_rows(summary))]
    return "\n".join(
        [
            *(f"% {note}." for note in _notes(summary, scoring)),
            r"\begin{tabular}{lr" + "c" * (len(HEADER) - 3) + "l}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _rows(summary: Mapping[str, Row]) -> Iterator[list[str]]:
    for name, row in summary.items():
        yield _row(name, row)
        yield from (_row(f"– {label}", part) for label, part in _parts(row))
    sets = {set_key(name): row["f1"] for name, row in summary.items() if "f1" in row}
    if set(IN_DISTRIBUTION) <= set(sets):
        mean = sum(sets[name] for name in IN_DISTRIBUTION) / len(IN_DISTRIBUTION)
        yield _row("in distribution", {"f1": mean, "images": ""})


def _row(name: str, row: Row) -> list[str]:
    alarms = "{false_alarm_area:.1%}, {false_alarm_rate:.1%}".format(**row) if "images_authentic" in row else DASH
    at = f" ({row['threshold_best_per_set']:g})" if "threshold_best_per_set" in row else ""
    cells = [
        *(name, str(row["images"]), cell(row, "f1", interval="f1_ci_low" in row), cell(row, "iou"), cell(row, "auc")),
        *(cell(row, "f1_best_per_image"), cell(row, "f1_best_per_set") + at),
        *(cell(row, "image_auc"), cell(row, "image_balanced_accuracy"), alarms),
        ", ".join(map(str, published(name))),
    ]
    return [cell_text.strip() for cell_text in cells]


def _parts(row: Row) -> list[tuple[str, Row]]:
    """Return the rows per manipulation kind and per region area, unless one of them covers the whole set."""
    groups: Sequence[Mapping[str, Row]] = (row.get("by_kind", {}), row.get("by_area", {}))
    return [item for group in groups for item in group.items() if item[1]["images"] < row["images"]]


def _notes(summary: Mapping[str, Row], scoring: Scoring) -> list[str]:
    notes = [f"Scoring rules (see docs/metrics.md): {scoring}"]
    if any(published(name) for name in summary):
        notes.append(f"Published F1: {SOURCE}")
    for name, row in summary.items():
        there = IMAGES.get(set_key(name), row["images"])
        if there != row["images"]:
            notes.append(f"{name}: {row['images']} images here, {there} in the publication")
    return notes
