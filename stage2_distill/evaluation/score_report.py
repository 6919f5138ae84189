"""Test scores: summary of per-image scores with intervals and trivial baselines, and the files written by `test`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.runtime import provenance
from boxpromptiml.scoring import tables
from boxpromptiml.scoring.protocol import SOURCE, Scoring, published
from boxpromptiml.scoring.score_functions import (
    auc_of_images,
    balanced_accuracy,
    best_balanced_accuracy,
    bootstrap_interval,
    bootstrap_interval_of,
)
from stage2_distill.data.test_set import unscored
from stage2_distill.evaluation.metrics import COLUMNS, PIXEL_SCORES, SCORES, THRESHOLDS, TRIVIAL, ImageScores

AREAS = {"below 1 %": 0.0, "1 to 5 %": 0.01, "5 to 25 %": 0.05, "from 25 %": 0.25}
"""Name → smallest manipulated fraction of the photo."""
Rows = NDArray[np.float64]


def summarize(
    rows: Rows,
    sets: Mapping[str, Sequence[ImageRecord]],
    scoring: Scoring = Scoring(),  # noqa: B008 (frozen)
) -> dict[str, dict[str, Any]]:
    """Average over images with 95 % bootstrap intervals, for each test set.

    Pixel scores are averaged over manipulated images; authentic ones yield ``false_alarm_area`` (mean fraction of
    pixels above the threshold) and ``false_alarm_rate`` (fraction of images with any such pixel). If a set has both,
    image-level scores use the score of each image.

    Args:
        rows: as returned by `ImageScores.compute`.
        sets: name → records, in the order of the set indices.
        scoring: options that the rows were computed with.
    """
    summary: dict[str, dict[str, Any]] = {}
    for position, (name, records) in enumerate(sets.items()):
        of_set = rows[(rows[:, 0] == position) & ~np.isnan(rows[:, COLUMNS.index("f1")])]
        kinds = np.array([_kind(records[int(index)]) for index in of_set[:, 1]], dtype=str)
        manipulated, authentic = of_set[kinds != "authentic"], of_set[kinds == "authentic"]
        summary[name] = {
            **_scores(manipulated),
            **_best_of_set(manipulated),
            **false_alarms(authentic),
            **_whole_images(manipulated, authentic, scoring),
            "set_aside": _set_aside(rows, position, records),
            "by_kind": {kind: _scores(of_set[kinds == kind]) for kind in sorted({*kinds} - {"authentic", ""})},
            "by_area": _by_area(manipulated),
        }
    return summary


def per_image(rows: Rows, sets: Mapping[str, Sequence[ImageRecord]]) -> list[dict[str, Any]]:
    """Return one flat dict per image; scores that do not exist (AUC of an authentic image) are None."""
    names = list(sets)
    table = []
    for row in rows:
        record = sets[names[int(row[0])]][int(row[1])]
        scores = {
            column: None if np.isnan(v) else float(v)
            for column, v in zip(SCORES, row[2 : 2 + len(SCORES)], strict=True)
        }
        table.append(
            {
                "set": names[int(row[0])],
                "image_id": record.image_id,
                "file": str(record.path),
                "mask_file": None if record.mask_path is None else str(record.mask_path),
                "kind": _kind(record),
                **scores,
            }
        )
    return table


class WriteScores(L.Callback):
    """Write ``scores.json``, ``scores.md`` and ``scores.tex`` after `boxpromptiml test` and print the table.

    Args:
        folder: where to write them.

    Attributes:
        set_aside: number of photos in the manifests without a score; counted in the first process.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.set_aside = 0

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather the rows of all processes and write them in the first."""
        board = pl_module.image_scores
        assert isinstance(board, ImageScores)
        rows = board.compute().numpy()
        if not trainer.is_global_zero:
            return
        sets: dict[str, list[ImageRecord]] = trainer.datamodule.test_records  # type: ignore[attr-defined]
        summary = summarize(rows, sets, board.scoring)
        for name, reasons in trainer.datamodule.unusable.items():  # type: ignore[attr-defined]
            summary[name]["set_aside"] = reasons + summary[name]["set_aside"]
        provenance.write_json(
            self.folder / "scores.json",
            {
                "sets": summary,
                "published": {name: [asdict(row) for row in beside] for name in sets if (beside := published(name))},
                "published_source": SOURCE,
                "scoring": asdict(board.scoring),
                "checkpoint": trainer.ckpt_path and str(trainer.ckpt_path),
                "command": provenance.command_line(),
                "environment": provenance.environment(),
                "per_image": per_image(rows, sets),
            },
        )
        write_whole(self.folder / "scores.md", tables.markdown(summary, board.scoring).encode())
        write_whole(self.folder / "scores.tex", tables.latex(summary, board.scoring).encode())
        print(tables.text(summary))
        print("best: F1 with each image at its own best threshold, an upper bound rather than a result")
        self.set_aside = sum(len(of_set["set_aside"]) for of_set in summary.values())
        if self.set_aside:
            print(f"skipped: {self.set_aside} photos without a score; scores.json gives the reason for each")
        print(f"scores of every image: {self.folder / 'scores.json'}; tables: scores.md, scores.tex")


def means(values: Mapping[str, Rows]) -> dict[str, float]:
    """Average over images, with 95 % bootstrap intervals, as ``NAME``, ``NAME_ci_low`` and ``NAME_ci_high``.

    Args:
        values: name → (N,) scores, NaN for images without score. A score that no image has is omitted.
    """
    found: dict[str, float] = {}
    for name, scores in values.items():
        there = scores[~np.isnan(scores)]
        if len(there):
            low, high = bootstrap_interval(there)
            found |= {name: float(there.mean()), f"{name}_ci_low": low, f"{name}_ci_high": high}
    return found


def false_alarms(authentic: Rows) -> dict[str, float]:
    """Summarize the marked area of authentic images, given their rows; empty if there are none."""
    if not len(authentic):
        return {}
    area = _column(authentic, "predicted_area")
    return {
        "images_authentic": len(authentic),
        "false_alarm_area": float(area.mean()),
        "false_alarm_rate": float((area > 0).mean()),
    }


def _column(rows: Rows, name: str) -> Rows:
    return rows[:, COLUMNS.index(name)]


def _scores(rows: Rows) -> dict[str, Any]:
    return {"images": len(rows), **means({name: _column(rows, name) for name in (*PIXEL_SCORES, *TRIVIAL)})}


def _best_of_set(manipulated: Rows) -> dict[str, float]:
    """Return the mean F1 at the single best threshold for the set; the interval treats the threshold as fixed."""
    if not len(manipulated):
        return {}
    curves = manipulated[:, -len(THRESHOLDS) :]
    best = int(curves.mean(0).argmax())
    return {**means({"f1_best_per_set": curves[:, best]}), "threshold_best_per_set": THRESHOLDS[best]}


def _by_area(manipulated: Rows) -> dict[str, dict[str, Any]]:
    place = np.digitize(_column(manipulated, "manipulated_area"), list(AREAS.values())) - 1
    return {name: _scores(manipulated[place == i]) for i, name in enumerate(AREAS) if (place == i).any()}


def _whole_images(manipulated: Rows, authentic: Rows, scoring: Scoring) -> dict[str, float]:
    """Compute image-level scores from the largest probabilities, if there are manipulated and authentic images."""
    if not len(manipulated) or not len(authentic):
        return {}
    samples = _column(manipulated, "image_score"), _column(authentic, "image_score")
    found: dict[str, float] = {}
    accuracy = partial(balanced_accuracy, threshold=scoring.image_threshold)
    for name, statistic in (("image_auc", auc_of_images), ("image_balanced_accuracy", accuracy)):
        low, high = bootstrap_interval_of(statistic, *samples)
        found |= {name: float(statistic(*samples)), f"{name}_ci_low": low, f"{name}_ci_high": high}
    best, threshold = best_balanced_accuracy(*samples)
    return {**found, "image_balanced_accuracy_best": best, "image_threshold_best": threshold}


def _set_aside(rows: Rows, position: int, records: Sequence[ImageRecord]) -> list[str]:
    unread = rows[(rows[:, 0] == position) & np.isnan(rows[:, COLUMNS.index("f1")])]
    return [unscored(records[int(index)]) for index in unread[:, 1]]


def _kind(record: ImageRecord) -> str:
    return "authentic" if record.authentic else record.kind or ""
