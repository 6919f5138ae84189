"""Pictures of fixed validation samples, logged after every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import default_collate

from boxpromptiml import images
from boxpromptiml.core.limits import Count, within_limits
from boxpromptiml.core.records import Batch
from boxpromptiml.images import visualization
from stage2_distill.data.dataset import PseudoMaskDataset, unpack
from stage2_distill.module import Distillation

COLUMNS = ("photo and boxes", "pseudo-mask", "prediction", "gate prior", "memory prior")


class PicturePanels(L.Callback):
    """Draw the same validation samples after every epoch, on W&B and as PNG sheets.

    Args:
        folder: where the sheets are written.
        samples: number of validation samples, evenly spaced over the set.
    """

    @within_limits
    def __init__(self, folder: str, samples: Count = 6) -> None:
        self.folder = Path(folder)
        self.samples = samples

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the student's output for the fixed samples, in the first process."""
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != TrainerFn.FITTING:
            return  # `validate` has no epoch
        assert isinstance(pl_module, Distillation)
        dataset = trainer.datamodule.val_set  # type: ignore[attr-defined]
        chosen = torch.linspace(0, len(dataset) - 1, min(self.samples, len(dataset))).long().tolist()
        image_ids, rows = picture_rows(pl_module, dataset, chosen)
        captions = [f"image {image_id}" for image_id in image_ids]
        visualization.sheet(rows, COLUMNS, captions, self.folder / f"epoch-{trainer.current_epoch:03d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(
                    "panels", [np.hstack(row) for row in rows], caption=[f"{c}: {', '.join(COLUMNS)}" for c in captions]
                )


def picture_rows(
    pl_module: Distillation, dataset: PseudoMaskDataset, positions: Sequence[int]
) -> tuple[list[int], list[list[images.Photo]]]:
    """Run the student on samples of a dataset and draw them.

    Returns:
        Their image ids, and for each a row of pictures as named in `COLUMNS`, all at the student's size.
    """
    batch = unpack(default_collate([dataset[i] for i in positions]))
    with torch.no_grad():
        prediction = pl_module.student(batch["image"].to(pl_module.device))
    return batch["image_id"].tolist(), [_row(batch, prediction, i) for i in range(len(positions))]


def _row(batch: Batch, prediction: Any, i: int) -> list[images.Photo]:
    photo = images.to_uint8(batch["image"][i].permute(1, 2, 0).numpy())
    side = photo.shape[0]
    boxed = visualization.outlined(photo, batch["box_mask"][i, 0].numpy() > 0)
    maps = [torch.sigmoid(prediction.logits), prediction.gate_prior, prediction.memory_prior]
    drawn = [
        visualization.heat(images.resize_probability(prior[i, 0].float().cpu().numpy(), side, side)) for prior in maps
    ]
    return [boxed, visualization.grey(batch["pseudo_mask"][i, 0].numpy()), *drawn]
