"""Scores of a student on named test sets: one row an image, then means with intervals, beside trivial predictors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from boxpromptiml import provenance
from boxpromptiml.records import ImageRecord
from boxpromptiml.scores import auc_of_image, bootstrap_interval, counts_per_image, f1_from_counts, iou_from_counts

TRIVIAL = ("f1_all_positive", "f1_nothing", "f1_random", "f1_centre_box")
"""Predictors that look at no pixel: everything, nothing, random at the true rate, the middle half of each side."""
SCORES = ("f1", "iou", "auc", *TRIVIAL, "predicted_area", "image_score")
COLUMNS = ("set", "index", *SCORES)


class RowPerImage(Metric):
    """Keeps a row of numbers for each image; under several processes every image counts once.

    Args:
        threshold: pixels with a probability above it are predicted as manipulated.

    Attributes:
        keys: how many leading numbers of a row say which image it is.
    """

    full_state_update = False
    keys: int
    rows: list[Tensor]

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        self.add_state("rows", [], dist_reduce_fx="cat")

    def compute(self) -> Tensor:
        """(N, columns) float64, sorted by image, each image once: samplers pad the last batch with repetitions."""
        rows = (torch.cat(list(self.rows)) if isinstance(self.rows, list) else self.rows).cpu()
        _, first = np.unique(rows[:, : self.keys].numpy(), axis=0, return_index=True)
        return rows[first]


class Scoreboard(RowPerImage):
    """Rows of `COLUMNS`, one for each image of the test sets."""

    keys = 2

    def update(self, set_index: int, index: int, probability: Tensor, truth: Tensor | None) -> None:
        """Score one image.

        Args:
            set_index: position of the test set.
            index: position of the image in its set.
            probability: (H, W) in [0, 1] at the truth's own size.
            truth: (H, W) bool, True = manipulated; None marks an image that could not be read.
        """
        scores = [float("nan")] * len(SCORES) if truth is None else self._score(probability, truth)
        self.rows.append(torch.tensor([[set_index, index, *scores]], dtype=torch.float64, device=self.device))

    def _score(self, probability: Tensor, truth: Tensor) -> list[float]:
        tp, fp, fn = counts_per_image(probability[None], truth[None], self.threshold)
        scores = [f1_from_counts(tp, fp, fn), iou_from_counts(tp, fp, fn), auc_of_image(probability, truth)]
        area = (probability > self.threshold).float().mean()
        return [score.item() for score in [*scores, *_trivial_f1(truth), area, probability.max()]]


def summarize(rows: NDArray[np.float64], sets: Mapping[str, Sequence[ImageRecord]]) -> dict[str, dict[str, Any]]:
    """Means over images with 95 % bootstrap intervals, for each test set.

    Pixel scores are over manipulated images; authentic ones give ``false_alarm_area`` (mean share of pixels above the
    threshold) and ``false_alarm_rate`` (share of images with any such pixel).

    Args:
        rows: as `Scoreboard.compute` gives them.
        sets: name → records, in the order of the set indices.
    """
    summary: dict[str, dict[str, Any]] = {}
    for position, (name, records) in enumerate(sets.items()):
        of_set = rows[(rows[:, 0] == position) & ~np.isnan(rows[:, COLUMNS.index("f1")])]
        kinds = np.array([_kind(records[int(index)]) for index in of_set[:, 1]], dtype=str)
        summary[name] = {
            **_scores(of_set[kinds != "authentic"]),
            "set_aside": _set_aside(rows, position, records),
            "by_kind": {kind: _scores(of_set[kinds == kind]) for kind in sorted({*kinds} - {"authentic", ""})},
        }
        authentic = of_set[kinds == "authentic"]
        if len(authentic):
            area = authentic[:, COLUMNS.index("predicted_area")]
            summary[name] |= {
                "images_authentic": len(authentic),
                "false_alarm_area": float(area.mean()),
                "false_alarm_rate": float((area > 0).mean()),
            }
    return summary


def per_image(rows: NDArray[np.float64], sets: Mapping[str, Sequence[ImageRecord]]) -> list[dict[str, Any]]:
    """One flat mapping an image; scores that do not exist (AUC of an authentic image) are None."""
    names = list(sets)
    table = []
    for row in rows:
        record = sets[names[int(row[0])]][int(row[1])]
        scores = {column: None if np.isnan(v) else float(v) for column, v in zip(SCORES, row[2:], strict=True)}
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
    """Write ``scores.json`` after `boxpromptiml test` and print the table.

    Args:
        folder: where to write it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather the rows of all processes and write them on the first."""
        rows = pl_module.scoreboard.compute().numpy()  # type: ignore[operator,union-attr]
        if not trainer.is_global_zero:
            return
        sets: dict[str, list[ImageRecord]] = trainer.datamodule.test_records  # type: ignore[attr-defined]
        summary = summarize(rows, sets)
        provenance.write_json(
            self.folder / "scores.json",
            {
                "sets": summary,
                "checkpoint": trainer.ckpt_path and str(trainer.ckpt_path),
                "command": provenance.command_line(),
                "environment": provenance.environment(),
                "per_image": per_image(rows, sets),
            },
        )
        print(table(summary))
        print(f"scores of every image: {self.folder / 'scores.json'}")


def table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """Scores as text: a row for each test set, below it its kinds of manipulation where there are several.

    A dash stands where there is nothing to score.
    """
    lines = [f"{'test set':<16} images   F1 (95 % interval)     IoU    AUC    all    random  centre box"]
    for name, row in summary.items():
        lines.append(_line(name, row))
        kinds: Mapping[str, Mapping[str, Any]] = row["by_kind"]
        if any(part["images"] < row["images"] for part in kinds.values()):
            lines += [_line(f"  {kind}", part) for kind, part in kinds.items()]
        if "images_authentic" in row:
            alarms = f"{row['false_alarm_area']:.1%} of pixels, in {row['false_alarm_rate']:.1%} of images"
            lines.append(f"{'  authentic':<16} {row['images_authentic']:>6}   marked by mistake: {alarms}")
    return "\n".join(lines)


def means(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Mean over images and its 95 % bootstrap interval under ``NAME``, ``NAME_ci_low`` and ``NAME_ci_high``.

    Args:
        values: name → (N,) scores, NaN where an image has none. A score that no image has is left out.
    """
    found: dict[str, float] = {}
    for name, scores in values.items():
        there = scores[~np.isnan(scores)]
        if len(there):
            low, high = bootstrap_interval(there)
            found |= {name: float(there.mean()), f"{name}_ci_low": low, f"{name}_ci_high": high}
    return found


def cell(row: Mapping[str, Any], name: str, interval: bool = False) -> str:
    """A score with three digits, and its interval; a dash where there is none."""
    parts = [f"{row[key]:.3f}" if key in row else "  –  " for key in (name, f"{name}_ci_low", f"{name}_ci_high")]
    return "{} ({} to {})".format(*parts) if interval else parts[0]


def _line(name: str, row: Mapping[str, Any]) -> str:
    f1, iou, auc = cell(row, "f1", interval=True), cell(row, "iou"), cell(row, "auc")
    everything, chance, centre = (cell(row, key) for key in ("f1_all_positive", "f1_random", "f1_centre_box"))
    return f"{name:<16} {row['images']:>6}   {f1}  {iou}  {auc}  {everything}  {chance}   {centre}"


def _trivial_f1(truth: Tensor) -> list[Tensor]:
    """F1 of the predictors in `TRIVIAL`; for the random one its limit for many pixels, which is the true rate."""
    height, width = truth.shape
    centre = torch.zeros_like(truth)
    centre[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    predictions = torch.stack([torch.ones_like(truth), torch.zeros_like(truth), centre]).float()
    everything, nothing, box = f1_from_counts(*counts_per_image(predictions, truth.expand(3, -1, -1)))
    return [everything, nothing, truth.float().mean(), box]


def _scores(rows: NDArray[np.float64]) -> dict[str, Any]:
    values = {name: rows[:, COLUMNS.index(name)] for name in (*SCORES[:3], *TRIVIAL)}
    return {"images": len(rows), **means(values)}


def _set_aside(rows: NDArray[np.float64], position: int, records: Sequence[ImageRecord]) -> list[str]:
    unread = rows[(rows[:, 0] == position) & np.isnan(rows[:, COLUMNS.index("f1")])]
    return [str(records[int(index)].path) for index in unread[:, 1]]


def _kind(record: ImageRecord) -> str:
    return "authentic" if record.authentic else record.kind or ""
