"""The record of a training run: ``fit.json``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L

from boxpromptiml.runtime import provenance
from stage2_distill.callbacks import wandb_artifacts
from stage2_distill.model.student import count_macs, count_parameters
from stage2_distill.module import Distillation


class RunRecord(L.Callback):
    """Write ``fit.json`` when training ends: duration, sizes, versions, command.

    Args:
        folder: where to write it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.seconds = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start timing."""
        self.started = time.monotonic()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the record in the first process, except for fast_dev_run."""
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
                "pseudo_masks": wandb_artifacts.of_caches(trainer.datamodule.caches),  # type: ignore[attr-defined]
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
        """Return the seconds spent so far, which a resumed run adds to its own."""
        return {"seconds": self.seconds + time.monotonic() - self.started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds of earlier runs."""
        self.seconds = state_dict["seconds"]
