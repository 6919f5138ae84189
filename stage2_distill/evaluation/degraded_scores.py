"""Per-image scores for `robustness`, computed for each degradation that has none yet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning as L
import numpy as np
from tqdm import tqdm

from boxpromptiml.core.atomic_files import atomic_path
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.data.degradations import Degradation
from stage2_distill.data.test_set import ScoredBatch, scored_loaders, unscored
from stage2_distill.evaluation.metrics import ImageScores, in_precision
from stage2_distill.evaluation.score_report import Rows
from stage2_distill.inference.localizer import Localizer

warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec")  # Lightning 2.6 on torch 2.12 and newer


class DegradedTest(L.LightningModule):
    """Scores a localizer on test photos; one progress bar counts the images of all runs.

    Args:
        localizer: the localizer to test.
        scoring: options.
        bar: progress bar, advanced for each image.

    Attributes:
        rows: scores of the last run, one row per photo, from all processes; see `ImageScores.compute`.
    """

    rows: Rows

    def __init__(self, localizer: Localizer, scoring: Scoring, bar: tqdm) -> None:
        super().__init__()
        self.localizer = localizer
        self.image_scores = ImageScores(scoring)
        self.bar = bar

    def test_step(self, batch: ScoredBatch, batch_index: int, dataloader_idx: int = 0) -> None:
        """Score each photo against its ground truth."""
        with in_precision(self.image_scores.scoring.precision, self.device):
            probability, score = self.localizer(batch["image"])
        self.image_scores.update_batch(dataloader_idx, batch, probability, score)
        self.bar.update(len(batch["index"]) * self.trainer.world_size)

    def on_test_epoch_end(self) -> None:
        """Gather the rows of all processes."""
        self.rows = self.image_scores.compute().numpy()
        self.image_scores.reset()


def score_missing(
    files: Mapping[Degradation | None, Path],
    trainer: L.Trainer,
    localizer: Localizer,
    scoring: Scoring,
    sets: Mapping[str, Sequence[ImageRecord]],
    batch_size: int,
    workers: int,
) -> None:
    """Compute and save the rows of every degradation whose file is missing; None stands for the original photos."""
    left = [degradation for degradation, file in files.items() if not file.exists()]
    images = sum(map(len, sets.values()))
    done = (len(files) - len(left)) * images
    with tqdm(total=len(files) * images, initial=done, unit="image", disable=not trainer.is_global_zero) as bar:
        module = DegradedTest(localizer, scoring, bar)
        for degradation in left:
            bar.set_postfix_str(str(degradation or "as they are"))
            loaders = scored_loaders(sets.values(), localizer.student.image_size, batch_size, workers, degradation)
            trainer.test(module, loaders, verbose=False)
            if trainer.is_global_zero:
                _save(files[degradation], module.rows)
    trainer.strategy.barrier()  # the other processes read the files written by the first


def unscored_photos(clean: Rows, sets: Mapping[str, Sequence[ImageRecord]]) -> list[str]:
    """Explain why photos without scores have none."""
    records = list(sets.values())
    unread = clean[np.isnan(clean[:, 2:]).all(1)]
    return [unscored(records[int(row[0])][int(row[1])]) for row in unread]


def unscored_levels(
    clean: Rows, degraded: Mapping[Degradation, Rows], sets: Mapping[str, Sequence[ImageRecord]]
) -> dict[str, list[str]]:
    """List photos that have scores originally but none at a level, because their ground truth vanishes there.

    Returns:
        Degradation as text → files.
    """
    records = list(sets.values())
    scored = ~np.isnan(clean[:, 2:]).all(1)
    lost = {each: rows[scored & np.isnan(rows[:, 2:]).all(1)] for each, rows in degraded.items()}
    return {
        str(each): [str(records[int(row[0])][int(row[1])].path) for row in rows]
        for each, rows in lost.items()
        if len(rows)
    }


def _save(path: Path, rows: Rows) -> None:
    """Save the rows of a finished degradation."""
    with atomic_path(path) as partial, partial.open("wb") as stream:
        np.save(stream, rows)
