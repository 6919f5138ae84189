"""Agreement of a student with its teacher on named validation sets, and with ground truth where available."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor

from boxpromptiml.core.records import Batch
from boxpromptiml.runtime import provenance
from boxpromptiml.scoring.score_functions import counts_per_image, f1_from_counts, iou_from_counts
from boxpromptiml.scoring.tables import cell
from stage2_distill.data.dataset import PseudoMaskDataset, Reference, target_of
from stage2_distill.evaluation.metrics import RowPerImage
from stage2_distill.evaluation.score_report import means

SCORES = ("f1_pseudo_mask", "iou_pseudo_mask", "f1_truth", "iou_truth")
COLUMNS = ("position", *SCORES)


class TeacherAgreement(RowPerImage):
    """Rows of `COLUMNS`, one per validation image; NaN for scores that do not exist.

    Authentic images have no scores, images without ground truth or with an empty one have none against it.
    """

    keys = 1

    def update(self, batch: Batch, probability: Tensor) -> None:
        """Score a batch of predictions ``probability`` (B, 1, H, W) in [0, 1]."""
        against_teacher, against_truth = (self._score(probability, batch, of) for of in ("pseudo_mask", "truth"))
        self.rows.append(torch.cat([batch["position"].double()[:, None], against_teacher, against_truth], 1))

    def _score(self, probability: Tensor, batch: Batch, against: Reference) -> Tensor:
        target, counted = target_of(batch, against)
        counts = counts_per_image(probability, target > 0.5, self.threshold)
        scores = torch.stack([f1_from_counts(*counts), iou_from_counts(*counts)], 1).double()
        return scores.where(counted[:, None], torch.nan)


def by_set(
    rows: NDArray[np.float64], sets: Sequence[str], set_of: NDArray[np.intp]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Group scores by validation set: set → score → (N,), NaN for scores that do not exist.

    Args:
        rows: as returned by `TeacherAgreement.compute`.
        sets: names.
        set_of: (n,) index in ``sets`` of each validation image.
    """
    which = set_of[rows[:, 0].astype(int)]
    return {name: dict(zip(SCORES, rows[which == place, 1:].T, strict=True)) for place, name in enumerate(sets)}


def averages(rows: NDArray[np.float64], sets: Sequence[str], set_of: NDArray[np.intp]) -> dict[str, float]:
    """Average over images for logging: ``SCORE`` over all images and, if there are several sets, ``SCORE/SET``.

    See `by_set`. A score that no image has is NaN for all images, and omitted for a set.
    """
    found = {score: _mean(values) for score, values in zip(SCORES, rows[:, 1:].T, strict=True)}
    if len(sets) > 1:
        for name, scores in by_set(rows, sets, set_of).items():
            found |= {f"{score}/{name}": _mean(v) for score, v in scores.items() if not np.isnan(v).all()}
    return found


def summarize(rows: NDArray[np.float64], sets: Sequence[str], set_of: NDArray[np.intp]) -> dict[str, dict[str, float]]:
    """Average over the manipulated images of each set, with 95 % bootstrap intervals. See `by_set`."""
    return {
        name: {"images": int((~np.isnan(scores["f1_pseudo_mask"])).sum()), **means(scores)}
        for name, scores in by_set(rows, sets, set_of).items()
    }


class WriteAgreement(L.Callback):
    """Write ``agreement.json`` after `boxpromptiml validate` and print the table.

    Args:
        folder: where to write it.

    Attributes:
        set_aside: number of images that could not be scored against ground truth; counted in the first process.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.set_aside = 0

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather the rows of all processes and write them in the first; does nothing during training."""
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        rows = pl_module.agreement.compute().numpy()  # type: ignore[operator,union-attr]
        if not trainer.is_global_zero:
            return
        dataset = trainer.datamodule.val_set  # type: ignore[attr-defined]
        summary = summarize(rows, dataset.sources, dataset.source_of)
        lost = empty_truths(rows, dataset)
        self.set_aside = len(lost)
        together = summarize(rows, ["all images"], np.zeros_like(dataset.source_of))
        provenance.write_json(
            self.folder / "agreement.json",
            {
                "sets": summary,
                "all": together["all images"],
                "not_scored_against_truth": lost,
                "precision": pl_module.image_scores.scoring.precision,  # type: ignore[union-attr]
                "checkpoint": trainer.ckpt_path and str(trainer.ckpt_path),
                "command": provenance.command_line(),
                "environment": provenance.environment(),
            },
        )
        for line in lost:
            print(f"not scored against ground truth: {line}")
        print(table(summary | together if len(summary) > 1 else summary))
        print(f"agreement with the teacher: {self.folder / 'agreement.json'}")


def empty_truths(rows: NDArray[np.float64], dataset: PseudoMaskDataset) -> list[str]:
    """List manipulated validation images with empty ground truth, which have no scores against it."""
    agreed, against_truth = rows[:, 1], rows[:, 1 + SCORES.index("f1_truth")]
    unscored = rows[~np.isnan(agreed) & np.isnan(against_truth), 0].astype(int).tolist()
    samples = ((dataset.sources[dataset.source_of[position]], dataset.sample(position)) for position in unscored)
    return [f"image {s.image_id} of {source}: it is empty" for source, s in samples if s.truth is not None]


def table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """Format a row per validation set; a dash for missing scores."""
    lines = [f"{'validation set':<16} images   F1 to pseudo-mask (95 %)   IoU    F1 to truth (95 %)"]
    for name, row in summary.items():
        teacher, truth = (cell(row, f"f1_{against}", interval=True) for against in ("pseudo_mask", "truth"))
        lines.append(f"{name:<16} {row['images']:>6}   {teacher}    {cell(row, 'iou_pseudo_mask')}  {truth}")
    return "\n".join(lines)


def _mean(values: NDArray[np.float64]) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
