"""The rows of `robustness`: a student's scores on every photo, for each degradation that has none yet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning as L
import numpy as np
from torch.utils.data import DataLoader
from tqdm import tqdm

from boxpromptiml.core.records import ImageRecord
from boxpromptiml.runtime.processes import loader_processes
from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.data.dataset import ScoredBatch, ScoredDataset, collate_scored, unscored
from stage2_distill.data.degradations import Degradation
from stage2_distill.evaluation.metrics import Scoreboard, in_precision
from stage2_distill.evaluation.scores import Rows
from stage2_distill.inference.localizer import Localizer

warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec")  # Lightning 2.6 on torch 2.12 and newer


class DegradedTest(L.LightningModule):
    """Scores a localizer on loaders of photos; one bar counts the images of all runs.

    Args:
        localizer: what is tested.
        scoring: the rules.
        bar: is moved on by each image.

    Attributes:
        rows: of the last run, from all processes; see `Scoreboard.compute`.
    """

    rows: Rows

    def __init__(self, localizer: Localizer, scoring: Scoring, bar: tqdm) -> None:
        super().__init__()
        self.localizer = localizer
        self.scoreboard = Scoreboard(scoring)
        self.bar = bar

    def test_step(self, batch: ScoredBatch, batch_index: int, dataloader_idx: int = 0) -> None:
        """Score each photo against its truth."""
        with in_precision(self.scoreboard.scoring.precision, self.device):
            probability = self.localizer(batch["image"])[:, 0]
        for i, truth in enumerate(batch["truth"]):
            self.scoreboard.update(dataloader_idx, batch["index"][i], probability[i], truth)
        self.bar.update(len(batch["index"]) * self.trainer.world_size)

    def on_test_epoch_end(self) -> None:
        """Gather the rows of all processes."""
        self.rows = self.scoreboard.compute().numpy()
        self.scoreboard.reset()


def score_missing(
    files: Mapping[Degradation | None, Path],
    trainer: L.Trainer,
    localizer: Localizer,
    scoring: Scoring,
    sets: Mapping[str, Sequence[ImageRecord]],
    batch_size: int,
    workers: int,
) -> None:
    """Write the rows of every degradation whose file is not there; None stands for photos as they are."""
    left = [each for each, file in files.items() if not file.exists()]
    images = sum(map(len, sets.values()))
    done = (len(files) - len(left)) * images
    with tqdm(total=len(files) * images, initial=done, unit="image", disable=not trainer.is_global_zero) as bar:
        module = DegradedTest(localizer, scoring, bar)
        for degradation in left:
            bar.set_postfix_str(str(degradation or "as they are"))
            loaders = _loaders(sets, localizer.student.image_size, degradation, batch_size, workers)
            trainer.test(module, loaders, verbose=False)
            if trainer.is_global_zero:
                _save(files[degradation], module.rows)
    trainer.strategy.barrier()  # the others read what the first has written


def unscored_photos(clean: Rows, sets: Mapping[str, Sequence[ImageRecord]]) -> list[str]:
    """Why photos that have no scores have none."""
    records = list(sets.values())
    unread = clean[np.isnan(clean[:, 2:]).all(1)]
    return [unscored(records[int(row[0])][int(row[1])]) for row in unread]


def _save(path: Path, rows: Rows) -> None:
    """Keep the rows of a finished degradation; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.save(stream, rows)
    partial.replace(path)


def _loaders(
    sets: Mapping[str, Sequence[ImageRecord]],
    size: int,
    degradation: Degradation | None,
    batch_size: int,
    workers: int,
) -> list[DataLoader]:
    return [
        DataLoader(
            ScoredDataset(records, size, degradation),
            batch_size,
            collate_fn=collate_scored,
            **loader_processes(workers, ScoredDataset.__module__),
        )
        for records in sets.values()
    ]
