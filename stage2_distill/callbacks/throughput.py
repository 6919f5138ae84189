"""Training throughput and the fraction of time spent waiting for data."""

from __future__ import annotations

import time
from typing import Any

import lightning as L

from boxpromptiml.core.records import Batch


class Throughput(L.Callback):
    """Log ``time/images_per_second``, over all processes, and ``time/share_waiting_for_data``.

    Both are means over ``log_every_n_steps`` batches on the first process, without validation. A GPU lags behind the
    CPU by a few batches, so it is idle only if waiting for data takes longer than those.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reset the counters."""
        self._batches, self._images, self._seconds, self._waited = 0, 0, 0.0, 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Exclude the time since the last batch."""
        self._mark = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Count the time since the last batch as waiting for this one."""
        self._waited += time.perf_counter() - self._mark

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch, and log when the interval is complete."""
        now = time.perf_counter()
        self._seconds, self._mark = self._seconds + now - self._mark, now
        self._batches, self._images = self._batches + 1, self._images + len(batch["image"])
        if self._batches < trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        speed = {
            "time/images_per_second": trainer.world_size * self._images / self._seconds,
            "time/share_waiting_for_data": self._waited / self._seconds,
        }
        for logger in trainer.loggers:
            logger.log_metrics(speed, step=trainer.global_step - 1)  # Lightning's step count
        self.on_train_start(trainer, pl_module)
