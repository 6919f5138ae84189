"""What a training run leaves behind for people: pictures of fixed samples, and a record of how it was made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import WandbLogger
from torch.utils.data import default_collate

from boxpromptiml import images, pictures, provenance
from boxpromptiml.limits import Count, within_limits
from boxpromptiml.records import Batch
from stage2_distill import lineage
from stage2_distill.dataset import PseudoMaskDataset, unpack
from stage2_distill.module import Distillation
from stage2_distill.student import count_macs, count_parameters

COLUMNS = ("photo and boxes", "pseudo-mask", "prediction", "gate prior", "memory prior")


class PicturePanels(L.Callback):
    """Draw the same validation samples after every epoch, on W&B and as PNG sheets.

    Args:
        folder: where the sheets go.
        samples: how many validation samples, spread evenly over the set.
    """

    @within_limits
    def __init__(self, folder: str, samples: Count = 6) -> None:
        self.folder = Path(folder)
        self.samples = samples

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Predict the fixed samples on the first process and draw them."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Distillation)
        dataset = trainer.datamodule.val_set  # type: ignore[attr-defined]
        chosen = torch.linspace(0, len(dataset) - 1, min(self.samples, len(dataset))).long().tolist()
        image_ids, rows = picture_rows(pl_module, dataset, chosen)
        captions = [f"image {image_id}" for image_id in image_ids]
        pictures.sheet(rows, COLUMNS, captions, self.folder / f"epoch-{trainer.current_epoch:03d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image(
                    "panels", [np.hstack(row) for row in rows], caption=[f"{c}: {', '.join(COLUMNS)}" for c in captions]
                )


class RunRecord(L.Callback):
    """Write ``fit.json`` when training ends: seconds, sizes, versions, the command.

    Args:
        folder: where to write it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.seconds = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the record on the first process, but not of a trial of a step."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        assert isinstance(pl_module, Distillation)
        checkpoint = trainer.checkpoint_callback
        mixture = trainer.datamodule.mixture  # type: ignore[attr-defined]
        provenance.write_json(
            self.folder / "fit.json",
            {
                "seconds_fit": round(self.seconds + time.monotonic() - self.started, 1),
                "images_train": len(trainer.datamodule.train_set),  # type: ignore[attr-defined]
                "draws_per_epoch": mixture.epoch_size,
                "pseudo_masks": lineage.of_caches(trainer.datamodule.caches),  # type: ignore[attr-defined]
                "sources": {n: {"images": c, "share_of_draws": mixture.shares[n]} for n, c in mixture.counts.items()},
                "images_val": len(trainer.datamodule.val_set),  # type: ignore[attr-defined]
                "epochs": trainer.current_epoch,
                "checkpoint": getattr(checkpoint, "best_model_path", ""),
                "monitor": getattr(checkpoint, "monitor", ""),
                "parameters": count_parameters(pl_module.student),
                "macs": count_macs(pl_module.student.cpu()),
                "student": pl_module.student.arguments,
                "command": provenance.command_line(),
                "environment": provenance.environment(),
            },
        )

    def state_dict(self) -> dict[str, Any]:
        """Seconds spent so far, so that a resumed run counts those of the runs before it."""
        return {"seconds": self.seconds + time.monotonic() - self.started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count."""
        self.seconds = state_dict["seconds"]


def picture_rows(
    pl_module: Distillation, dataset: PseudoMaskDataset, positions: Sequence[int]
) -> tuple[list[int], list[list[images.Photo]]]:
    """Look at samples of a dataset.

    Returns:
        Their image ids, and for each a row of pictures as named in `COLUMNS`, all of the student's size.
    """
    batch = unpack(default_collate([dataset[i] for i in positions]))
    with torch.no_grad():
        answer = pl_module.student(batch["image"].to(pl_module.device))
    return batch["image_id"].tolist(), [_row(batch, answer, i) for i in range(len(positions))]


def _row(batch: Batch, answer: Any, i: int) -> list[images.Photo]:
    photo = images.to_uint8(batch["image"][i].permute(1, 2, 0).numpy())
    side = photo.shape[0]
    boxed = pictures.outlined(photo, batch["box_mask"][i, 0].numpy() > 0)
    maps = [torch.sigmoid(answer.logits), answer.gate_prior, answer.memory_prior]
    drawn = [pictures.heat(images.resize_probability(each[i, 0].float().cpu().numpy(), side, side)) for each in maps]
    return [boxed, pictures.grey(batch["pseudo_mask"][i, 0].numpy()), *drawn]
