"""The threshold that suits a student best, chosen on the val split and stored with the student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from lightning.fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from boxpromptiml import __version__
from boxpromptiml.devices import existing_devices
from boxpromptiml.limits import Count, Workers, within_limits
from boxpromptiml.records import Batch, InputError
from boxpromptiml.run_folder import run_folder
from boxpromptiml.scores import f1_from_counts
from boxpromptiml.shards import read_index
from stage2_distill.datamodule import PseudoMaskData
from stage2_distill.dataset import scorable_truth, unpack
from stage2_distill.localizer import Localizer

THRESHOLDS = torch.linspace(0.01, 0.99, 99)
Target = Literal["pseudo_mask", "truth"]
SETTINGS = "calibration.settings.json"
RESULTS = ("model.safetensors", "config.json")


@within_limits
def calibrate(
    checkpoint: str,
    caches: list[Path],
    out: Path,
    against: Target = "pseudo_mask",
    batch_size: Count = 16,
    workers: Workers = 2,
    accelerator: str = "auto",
    overwrite: bool = False,
) -> int:
    """Choose a student's threshold and save both, ready for `predict`, `Localizer.load` and the Hugging Face hub.

    The threshold, in steps of 0.01, is the one with the best F1: the mean over the manipulated images of the caches'
    val splits, at the student's size. Where people drew boxes only, pseudo-masks are all there is to compare with.

    Args:
        checkpoint: a .ckpt file that `boxpromptiml fit` wrote, or a saved student.
        caches: folders that `boxpromptiml pseudomasks` wrote.
        out: folder to write model.safetensors, config.json and a model card to.
        against: pseudo_mask, or truth, which leaves out images that have none.
        batch_size: images a step.
        workers: loader processes.
        accelerator: cpu, gpu, or auto.
        overwrite: replace another student in the folder, or this one as calibrated otherwise.

    Returns:
        0, or 3 when manipulated images were set aside because their truth is empty.

    Raises:
        InputError: a cache has nothing to compare with, or the folder holds such a student or a run at work.
    """
    localizer = Localizer.load(checkpoint)
    with existing_devices(accelerator):
        device = Fabric(accelerator=accelerator, devices=1).device
    settings = {
        "weights_sha256": localizer.weights_sha256(),
        "caches": {str(cache): read_index(cache).stamp.config_hash for cache in caches},
        "against": against,
        "package_version": __version__,
    }
    with run_folder(out, SETTINGS, settings, RESULTS, overwrite):
        return _calibrate(localizer, caches, out, against, batch_size, workers, device)


def _calibrate(
    localizer: Localizer,
    caches: Sequence[Path],
    out: Path,
    against: Target,
    batch_size: int,
    workers: int,
    device: torch.device,
) -> int:
    size = localizer.student.image_size
    data = PseudoMaskData([str(cache) for cache in caches], image_size=size, batch_size=batch_size, workers=workers)
    data.setup("validate")
    localizer.to(device)
    rows, lost = [], []
    with torch.inference_mode():
        for packed in tqdm(data.val_dataloader(), unit="batch", desc="calibrate"):
            batch = unpack(packed)
            target, counted = _target(batch, against)
            if against == "truth":
                lost += batch["image_id"][_boxed(batch) & batch["has_truth"] & ~counted].tolist()
            if counted.any():
                probability = localizer(batch["image"][counted].to(device)).cpu()
                rows.append(f1_by_threshold(probability, target[counted]))
    for image_id in lost:
        print(f"set aside: image {image_id}: manipulated, and its truth is empty; correct its mask")
    if not rows:
        raise InputError(f"no manipulated image of the val split has a {against}; calibrate against the other")
    scores = torch.cat(rows)
    means = scores.mean(0)
    best = int(means.argmax())
    threshold = round(THRESHOLDS[best].item(), 2)
    plain = means[THRESHOLDS.sub(0.5).abs().argmin()].item()
    told = f"best mean F1 over {len(scores)} {'truths' if against == 'truth' else 'pseudo-masks'} of the val split"
    calibration = f"{told}: {means[best].item():.3f}, where 0.5 has {plain:.3f}"
    Localizer.from_student(localizer.student.cpu(), threshold, calibration).save(out)
    print(f"threshold {threshold:g}: {calibration}\nsaved: {out}")
    return 3 if lost else 0


def f1_by_threshold(probability: Tensor, target: Tensor) -> Tensor:
    """F1 (B, T) of each image at each of `THRESHOLDS`.

    Args:
        probability: (B, …) in [0, 1].
        target: (B, …) of the same shape; manipulated above one half.
    """
    # passed = how many thresholds a pixel lies above; each count of pixels by passed, summed from the top, is a count
    # of predicted pixels at one threshold
    passed = torch.bucketize(probability.flatten(1), THRESHOLDS)
    positive = (target > 0.5).flatten(1)
    counts = [
        torch.stack([_histogram(p[m]) for p, m in zip(passed, mask, strict=True)]) for mask in (positive, ~positive)
    ]
    tp, fp = (count.flip(1).cumsum(1).flip(1)[:, 1:] for count in counts)
    return f1_from_counts(tp, fp, positive.sum(1, keepdim=True) - tp)


def _histogram(passed: Tensor) -> Tensor:
    return torch.bincount(passed, minlength=len(THRESHOLDS) + 1)


def _target(batch: Batch, against: Target) -> tuple[Tensor, Tensor]:
    """What to compare with, and which images count: those with a box, and with a truth that marks something."""
    if against == "truth":
        return batch["truth"], scorable_truth(batch)
    return batch["pseudo_mask"], _boxed(batch)


def _boxed(batch: Batch) -> Tensor:
    return batch["box_mask"].flatten(1).any(1)
