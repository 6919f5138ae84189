"""Additional logging: gate and memory statistics, hardest images, and provenance of checkpoints.

Scalars go to every logger; tables, pictures and artifacts go to W&B. docs/wandb.md lists all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import wandb
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray

from boxpromptiml import images
from boxpromptiml.core.limits import Whole, within_limits
from boxpromptiml.core.records import Batch, ImageRecord
from boxpromptiml.images import visualization
from boxpromptiml.runtime import provenance
from stage2_distill.callbacks import hardest_images, wandb_artifacts
from stage2_distill.callbacks.gate_statistics import Bank, FusionStatistics
from stage2_distill.callbacks.hardest_images import HardestImages
from stage2_distill.evaluation.metrics import PIXEL_SCORES
from stage2_distill.evaluation.score_report import per_image
from stage2_distill.model.student import Localization, count_parameters
from stage2_distill.module import Distillation

FULL_SCALE = 4
"""The picture of usage is brightest for a prototype that gets this multiple of its share under uniform attention."""


class Dashboard(L.Callback):
    """Log what helps to explain the quality of a run.

    Args:
        folder: where the hardest images are written as pictures and JSON.
        batches: number of validation batches, evenly spaced, for gate and memory statistics.
        worst: number of hardest images; 0 for none.
        checkpoint: log the best checkpoint as a W&B artifact when training ends.
    """

    @within_limits
    def __init__(self, folder: str, batches: Whole = 8, worst: Whole = 8, checkpoint: bool = True) -> None:
        self.folder = Path(folder)
        self.batches = batches
        self.worst = worst
        self.checkpoint = checkpoint
        self.statistics: FusionStatistics | None = None
        self.usage: list[NDArray[np.float32]] = []
        self.pseudo_masks: dict[str, dict[str, Any]] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tag the run and declare its inputs."""
        assert isinstance(pl_module, Distillation)
        if not (loggers := _wandb_loggers(trainer)):
            return
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        self.pseudo_masks = wandb_artifacts.of_caches(datamodule.caches)
        student = pl_module.student.arguments
        tags = {f"teacher:{facts['teacher']}" for facts in self.pseudo_masks.values()}
        tags |= {f"backbone:{student['backbone']}"[:64]}  # W&B's limit
        tags |= {f"without:{part}" for part in ("gating", "memory") if not student[part]}
        for logger in loggers:
            run = logger.experiment
            run.tags = (*(run.tags or ()), *sorted(tags))
            run.notes = run.notes or provenance.command_line()
            run.config.update(
                {
                    "pseudo_masks": self.pseudo_masks,
                    "parameters": count_parameters(pl_module.student),
                    "environment": provenance.environment(),
                },
                allow_val_change=True,
            )
            wandb_artifacts.declare_inputs(run, self.pseudo_masks)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reset the statistics."""
        assert isinstance(pl_module, Distillation)
        self.statistics = FusionStatistics(pl_module.student.fusion, pl_module.device) if self.batches else None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Update gate and memory statistics, in some batches."""
        assert isinstance(pl_module, Distillation)
        prediction: Localization = outputs["prediction"]
        if self.statistics is not None:
            stride = max(1, int(trainer.num_val_batches[dataloader_idx]) // self.batches)
            if batch_idx % stride == 0 and batch_idx // stride < self.batches:
                self.statistics.update(prediction)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log gate and memory statistics, and draw the hardest images in the first process."""
        assert isinstance(pl_module, Distillation)
        if trainer.sanity_checking:
            return
        rows = pl_module.agreement.compute().numpy()  # like the calls below, a collective operation of all processes
        if self.statistics is not None:
            scalars = self.statistics.gate_scalars()
            if (bank := self.statistics.bank()) is not None:
                scalars |= bank.scalars()
                self.usage.append(bank.mass.cpu().numpy())
                for logger in _wandb_loggers(trainer):
                    logger.experiment.log(_bank_media(bank, self.usage))
            _log(trainer, {f"val/{name}": value.item() for name, value in scalars.items()})
        if self.worst and trainer.is_global_zero:
            dataset = trainer.datamodule.val_set  # type: ignore[attr-defined]
            self._show(trainer, "val/worst", hardest_images.of_validation(pl_module, dataset, rows, self.worst))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the scores of each test set, and draw the hardest images in the first process."""
        assert isinstance(pl_module, Distillation)
        rows = pl_module.image_scores.compute().numpy()
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        sets: dict[str, list[ImageRecord]] = datamodule.test_records
        _log(trainer, _test_scalars(per_image(rows, sets)))
        for logger in _wandb_loggers(trainer):
            logger.experiment.config.update({"checkpoint": str(trainer.ckpt_path)}, allow_val_change=True)
        if self.worst and trainer.is_global_zero:
            worst, alarms = hardest_images.of_test(pl_module, sets, rows, datamodule.image_size, self.worst)
            self._show(trainer, "test/worst", worst)
            self._show(trainer, "test/false_alarms", alarms)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the best checkpoint as a W&B artifact."""
        assert isinstance(pl_module, Distillation)
        best = trainer.checkpoint_callback
        path = Path(getattr(best, "best_model_path", ""))
        if not self.checkpoint or not path.is_file():
            return
        score = getattr(best, "best_model_score", None)
        facts = {
            "student": pl_module.student.arguments,
            "monitor": getattr(best, "monitor", None),
            "score": None if score is None else float(score),
            "pseudo_masks": self.pseudo_masks,
            "command": provenance.command_line(),
        }
        for logger in _wandb_loggers(trainer):
            wandb_artifacts.log_checkpoint(logger.experiment, path, facts)

    def _show(self, trainer: L.Trainer, name: str, cases: HardestImages) -> None:
        if cases.facts:
            cases.write(self.folder / f"{name.replace('/', '-')}.png")
            for logger in _wandb_loggers(trainer):
                logger.experiment.log({name: cases.table()})


def _log(trainer: L.Trainer, scalars: dict[str, float]) -> None:
    """Log to the loggers only, because `validate` and `test` would print scalars logged through the module."""
    for logger in trainer.loggers:
        logger.log_metrics(scalars, step=max(0, trainer.global_step - 1))  # Lightning's step count


def _wandb_loggers(trainer: L.Trainer) -> list[WandbLogger]:
    """Return the W&B loggers in the first process, none in the others."""
    return [logger for logger in trainer.loggers if trainer.is_global_zero and isinstance(logger, WandbLogger)]


def _bank_media(bank: Bank, usage: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """Visualize the bank: a table of prototypes by usage, usage over time, and pairwise similarity."""
    mass, (cosine, nearest) = bank.mass.cpu(), (of_prototypes.cpu() for of_prototypes in bank.nearest())
    order = mass.argsort(descending=True)
    rows = [[k, mass[k].item(), nearest[k].item(), cosine[k].item()] for k in order.tolist()]
    read = np.stack(usage, 1) * len(mass) / FULL_SCALE
    alike = (bank.cosine.cpu()[order][:, order].numpy() + 1) / 2
    return {
        "memory/prototypes": wandb.Table(columns=["prototype", "share", "nearest", "cosine"], data=rows),
        "memory/usage": wandb.Image(_magnified(read), caption="prototypes down, validations to the right"),
        "memory/similarity": wandb.Image(_magnified(alike), caption="cosine from −1 to 1, most read first"),
    }


def _magnified(values: NDArray[np.floating]) -> images.Photo:
    block = np.ones([max(1, 256 // side) for side in values.shape])
    return visualization.heat(np.kron(values.clip(0, 1), block).astype(np.float32))


def _test_scalars(table: list[dict[str, Any]]) -> dict[str, float]:
    """Return ``test/SCORE/SET``: mean pixel scores of manipulated images, mean false-alarm area of authentic ones."""
    values: dict[str, list[float]] = {}
    for row in table:
        authentic = row["kind"] == "authentic"
        for name in ("predicted_area",) if authentic else PIXEL_SCORES:
            key = f"test/{'false_alarm_area' if authentic else name}/{row['set']}"
            if row[name] is not None:
                values.setdefault(key, []).append(row[name])
    return {key: float(np.mean(found)) for key, found in values.items()}
