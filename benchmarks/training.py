"""Training speed of a recipe compared with a plain Lightning loop over image files, by setting and by part of a step.

``RECIPE=full`` uses the full configuration instead of the released one, ``BENCH=short`` measures only the
two ways compared.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.profilers import SimpleProfiler
from table import QUICK, apart, write_table
from torch import Tensor, nn
from torch.utils.data import DataLoader
from training_photos import FILES, PHOTO, STORED, Files, write_photos
from training_recipe import BACKBONE, BATCH, GPU, NAME, PRECISION, SIZE, loss, student

from stage2_distill.data.augmentation import Augmentation
from stage2_distill.data.datamodule import PseudoMaskData
from stage2_distill.model.speed import Speed
from stage2_distill.module import Distillation

SHORT = os.environ.get("BENCH") == "short"
STEPS = 2 if QUICK else 60 if GPU else 4 if SHORT else 6
"""Number of measured steps, after `WARM` warm-up steps."""
WARM = 1 if QUICK or SHORT else 20 if GPU else 2
TURNS = 1 if QUICK or GPU else 2
"""Number of runs of each way; the fastest counts, because other programs can only slow it down."""
WORKERS = int(os.environ.get("WORKERS", 0 if QUICK else 8 if GPU else 1))
PARTS = {
    "waiting for the loader": "[_TrainingEpochLoop].train_dataloader_next",
    "transfer": "[Strategy]SingleDeviceStrategy.batch_to_device",
    "bytes to floats": "[LightningDataModule]PseudoMaskData.on_after_batch_transfer",
    "forward and loss": "[Strategy]SingleDeviceStrategy.training_step",
    "backward": "[Strategy]SingleDeviceStrategy.backward",
    "step": "[LightningModule]Distillation.optimizer_step",
}
"""Name in the table → Lightning's action; transfer includes the next one, step includes forward and backward."""
OURS = "ours"
PLAIN = "plain Lightning loop, image files, PIL, 32-true"


class Plain(L.LightningModule):
    """The baseline: the same student and loss, default AdamW."""

    def __init__(self) -> None:
        super().__init__()
        self.student = student()
        self.student.lay_out(torch.contiguous_format)  # as networks come
        self.loss = nn.BCEWithLogitsLoss()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Compute the loss of a batch."""
        loss = self.loss(self.student(batch[0]).logits, batch[1])
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW with default settings."""
        return torch.optim.AdamW(self.parameters(), 1e-4)


class Rate(L.Callback):
    """Records the end times of the steps from `WARM` on and, on a GPU, the fraction of time it computed."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.busy: float | None = None

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Record the time; on a GPU also profile the kernels between the first and the last step."""
        if trainer.global_step < WARM:
            return
        first, last = trainer.global_step == WARM, trainer.global_step == WARM + STEPS
        if first or last:
            _synchronize()
        self.ends.append(time.perf_counter())
        if first and GPU:
            self.kernels = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
            self.kernels.start()
        elif last and GPU:
            self.kernels.stop()
            microseconds = sum(kernel.self_device_time_total for kernel in self.kernels.key_averages())
            self.busy = microseconds / 1e6 / (self.ends[-1] - self.ends[0])

    def images_per_second(self) -> float:
        """Return the rate over all steps on a GPU, or of the median step on a CPU, which other programs also use."""
        steps = np.diff(self.ends)
        return float(BATCH / (steps.mean() if GPU else np.median(steps)))


class Parts(SimpleProfiler):
    """Lightning's profiler, synchronized on a GPU so that each part includes its kernels."""

    def start(self, action_name: str) -> None:
        """Start after all pending kernels."""
        _synchronize()
        super().start(action_name)

    def stop(self, action_name: str) -> None:
        """Stop after all pending kernels."""
        _synchronize()
        super().stop(action_name)


def main() -> None:
    """Train in each way in a separate process, then with Lightning's profiler, and time the loaders alone."""
    other: dict[str, Any] = {"precision": "bf16-mixed" if PRECISION == "32-true" else "32-true"}
    ways: dict[str, dict[str, Any]] = {PLAIN: {"precision": "32-true"}, OURS: {}}
    if not SHORT:
        ways |= {
            f"{OURS}, {other['precision']}": other,
            f"{OURS}, channels first": {"speed": Speed(channels_last=False)},
            f"{OURS}, AdamW not fused": {"speed": Speed(fused=False)},
            f"{OURS}, backbone frozen": {"freeze_backbone": 1000},
            f"{OURS}, compiled": {"speed": Speed(compiled=True)},
        }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder)
        loaders = {"files": _images_per_second(_files(folder)), "cache": _images_per_second(_cached(folder))}
        results: dict[str, tuple[float, float | None, float]] = {}
        for _, (way, options) in itertools.product(range(TURNS), ways.items()):
            found = apart(_train, folder, way == PLAIN, options)
            results[way] = max(results.get(way, found), found)
        shares = {} if SHORT else apart(_profile, folder)
    rows = []
    for way, (rate, busy, megabytes) in results.items():
        row = [way, rate, rate / results[PLAIN][0], loaders["files" if way == PLAIN else "cache"], megabytes]
        rows.append([*row, f"{busy:.0%}"] if busy is not None else row)
    columns = ["way", "training images/s", "× plain", "its loader alone, images/s", "peak memory, MB"]
    split = ", ".join(f"{part} {share:.1%}" for part, share in shares.items())
    write_table(
        "training",
        f"Training by configs/{NAME}.yaml: {BACKBONE} at {SIZE} pixels, batches of {BATCH}, {WORKERS} loader "
        f"processes, {PRECISION}",
        columns + (["GPU computes"] if GPU else []),
        rows,
        f"{STEPS} steps after {WARM} to warm up, {'all' if GPU else 'the median'} of them, each way in a process of "
        f"its own, the faster of {TURNS}; memory is the largest "
        f"{'that was allocated on the GPU' if GPU else 'resident set'}. Random weights, {FILES} made-up "
        f"photos: for the plain loop JPEG files of {PHOTO[1]}×{PHOTO[0]} with PNG masks, for ours "
        f"cached samples of {STORED} pixels; crops and flips in both; JPEG, blur and noise are off, as the plain loop "
        f"has none. {f'Where a step of ours spends its time: {split}. ' if split else ''}Load of the machine at the "
        f"end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
        command="BENCH=short make bench ONLY=training" if SHORT else "",
    )


def _train(folder: Path, plain: bool, options: dict[str, Any]) -> tuple[float, float | None, float]:
    """Return images per second, the fraction of time the GPU computed, and peak memory in MB."""
    options = dict(options)
    rate, precision = Rate(), options.pop("precision", PRECISION)
    with _quiet():
        trainer = _trainer(folder, [rate], precision)
        if plain:
            trainer.fit(Plain(), _files(folder))
        else:
            trainer.fit(_module(options), datamodule=_data(folder))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return rate.images_per_second(), rate.busy, torch.cuda.max_memory_allocated() / 2**20 if GPU else resident


def _profile(folder: Path) -> dict[str, float]:
    """Return the fraction of time by part, without the warm-up."""
    profiler, rate = Parts(folder, "profile"), Rate()
    with _quiet():
        _trainer(folder, [rate], PRECISION, profiler).fit(_module({}), datamodule=_data(folder))
    taken = {part: sum(profiler.recorded_durations[action][WARM : WARM + STEPS]) for part, action in PARTS.items()}
    taken["transfer"] -= taken["bytes to floats"]  # included by Lightning
    taken["optimizer"] = taken.pop("step") - taken["forward and loss"] - taken["backward"]
    whole = rate.ends[-1] - rate.ends[0]
    taken["logging, callbacks and the rest"] = whole - sum(taken.values())
    return {part: seconds / whole for part, seconds in taken.items()}


def _module(options: dict[str, Any]) -> Distillation:
    return Distillation(student(), loss(), **options)


def _trainer(folder: Path, callbacks: list[L.Callback], precision: Any, profiler: Any = None) -> L.Trainer:
    return L.Trainer(
        accelerator="gpu" if GPU else "cpu",
        devices=1,
        precision=precision,
        max_steps=WARM + STEPS,
        limit_val_batches=0,
        logger=CSVLogger(folder, "log"),
        log_every_n_steps=10,
        callbacks=callbacks,
        profiler=profiler,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )


def _data(folder: Path) -> PseudoMaskData:
    return PseudoMaskData(
        [str(folder / "cache")],
        image_size=SIZE,
        batch_size=BATCH,
        workers=WORKERS,
        augmentation=Augmentation(jpeg_quality=100, blur=0.0, noise=0.0),
    )


def _files(folder: Path) -> DataLoader:
    return DataLoader(
        Files(folder), BATCH, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=WORKERS > 0
    )


def _cached(folder: Path) -> DataLoader:
    data = _data(folder)
    with _quiet():
        data.setup("fit")
    return data.train_dataloader()


def _images_per_second(loader: DataLoader) -> float:
    """Return the speed of a loader without a consumer, in its second pass."""
    for _ in loader:
        pass
    start = time.perf_counter()
    batches = sum(1 for _ in loader)
    return batches * BATCH / (time.perf_counter() - start)


def _synchronize() -> None:
    if GPU:
        torch.cuda.synchronize()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Lightning's messages."""
    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    main()
