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
from boxpromptiml.core.limits import Count, Share, Workers, within_limits
from boxpromptiml.core.records import Batch, InputError
from boxpromptiml.runtime.devices import existing_devices
from boxpromptiml.runtime.run_folder import run_folder
from boxpromptiml.scoring.scores import f1_from_counts
from boxpromptiml.shards import read_index
from stage2_distill.data.datamodule import PseudoMaskData
from stage2_distill.data.dataset import scorable_truth, unpack
from stage2_distill.inference import released
from stage2_distill.inference.localizer import Localizer, load_named

THRESHOLDS = torch.linspace(0.01, 0.99, 99)
Reference = Literal["pseudo_mask", "truth"]
SETTINGS = "calibration.settings.json"
RESULTS = ("model.safetensors", "config.json")


@within_limits
def calibrate(
    caches: list[Path],
    out: Path,
    checkpoint: str = released.NAME,
    against: Reference = "pseudo_mask",
    false_alarms: Share = 1.0,
    half: bool = False,
    batch_size: Count = 16,
    workers: Workers = 2,
    accelerator: str = "auto",
    overwrite: bool = False,
) -> int:
    """Choose a student's threshold and save both, ready for `predict`, `Localizer.load` and the Hugging Face hub.

    The threshold, in steps of 0.01, is the one with the best F1: the mean over the manipulated images of the caches'
    val splits, at the student's size; with `false_alarms`, the best that keeps authentic images as clean. Where people
    drew boxes only, pseudo-masks are all there is to compare with.

    Args:
        caches: folders that `boxpromptiml pseudomasks` wrote.
        out: folder to write model.safetensors, config.json and a model card to.
        checkpoint: a .ckpt file that `boxpromptiml fit` wrote, or a saved student; by default the one that comes with
            the package.
        against: pseudo_mask, or truth, which leaves out images that have none.
        false_alarms: largest share of the pixels of authentic images that may be marked, on average over those of the
            val splits. Lower thresholds are not chosen, however good their F1.
        half: write weights in 16 bits.
        batch_size: images a step.
        workers: loader processes.
        accelerator: cpu, gpu, or auto.
        overwrite: replace another student in the folder, or this one as calibrated otherwise.

    Returns:
        0, or 3 when manipulated images were set aside because their truth is empty.

    Raises:
        InputError: a cache has nothing to compare with, or the folder holds such a student or a run at work.
    """
    localizer = load_named(checkpoint)
    with existing_devices(accelerator):
        device = Fabric(accelerator=accelerator, devices=1).device
    settings = {
        "weights_sha256": localizer.weights_sha256(),
        "caches": {str(cache): read_index(cache).stamp.config_hash for cache in caches},
        "against": against,
        "false_alarms": false_alarms,
        "half": half,
        "package_version": __version__,
    }
    with run_folder(out, SETTINGS, settings, RESULTS, overwrite):
        localizer.to(device)
        scores, alarms, lost = _by_threshold(localizer, caches, against, batch_size, workers)
        threshold, calibration = _chosen(scores, alarms, against, false_alarms)
        Localizer.from_student(localizer.student.cpu(), threshold, calibration).save(out, half)
        for image_id in lost:
            print(f"set aside: image {image_id}: manipulated, and its truth is empty; correct its mask")
        print(f"threshold {threshold:g}: {calibration}\nsaved: {out}")
        return 3 if lost else 0


def _by_threshold(
    localizer: Localizer, caches: Sequence[Path], against: Reference, batch_size: int, workers: int
) -> tuple[Tensor, Tensor, list[int]]:
    """What each of `THRESHOLDS` would do on the val splits.

    Returns:
        (N, T) F1 of manipulated images; (M, T) share of the pixels of authentic ones that is marked; ids of manipulated
        images whose truth is empty.
    """
    size = localizer.student.image_size
    data = PseudoMaskData(
        [str(cache) for cache in caches], image_size=size, batch_size=batch_size, workers=workers, authentic=True
    )
    data.setup("validate")
    authentic = torch.from_numpy(data.val_set.authentic)
    scores, alarms, lost = [], [], []
    with torch.inference_mode():
        for packed in tqdm(data.val_dataloader(), unit="batch", desc="calibrate"):
            batch = unpack(packed)
            target, counted = _target(batch, against)
            clean = authentic[batch["position"]]
            if against == "truth":
                lost += batch["image_id"][_boxed(batch) & batch["has_truth"] & ~counted].tolist()
            probability = localizer(batch["image"].to(localizer.student.mean.device)).cpu()
            scores += [f1_by_threshold(probability[counted], target[counted])] if counted.any() else []
            alarms += [marked_by_threshold(probability[clean])] if clean.any() else []
    none = torch.zeros(0, len(THRESHOLDS))
    return torch.cat([none, *scores]), torch.cat([none, *alarms]), lost


def _chosen(scores: Tensor, alarms: Tensor, against: Reference, false_alarms: float) -> tuple[float, str]:
    """The threshold, and how it was chosen."""
    if not len(scores):
        raise InputError(f"no manipulated image of the val split has a {against}; calibrate against the other")
    if false_alarms < 1 and not len(alarms):
        raise InputError("no image of the val split is authentic, so false_alarms cannot be held; add some to a cache")
    means, marked = scores.mean(0), alarms.mean(0) if len(alarms) else torch.zeros(len(THRESHOLDS))
    allowed = marked <= false_alarms
    if not allowed.any():
        raise InputError(
            f"false_alarms is {false_alarms:g}, but even the highest threshold marks {marked.min():.1%} of the pixels "
            "of authentic images; allow more, or train with authentic images"
        )
    best = int(torch.where(allowed, means, -1.0).argmax())
    plain = means[THRESHOLDS.sub(0.5).abs().argmin()].item()
    calibration = (
        f"best mean F1 over {len(scores)} {'truths' if against == 'truth' else 'pseudo-masks'} of the val split: "
        f"{means[best].item():.3f}, where 0.5 has {plain:.3f}"
    )
    if false_alarms < 1:
        calibration += (
            f"; it marks {marked[best].item():.1%} of the pixels of {len(alarms)} authentic images, "
            f"at most {false_alarms:.1%} being allowed"
        )
    return round(THRESHOLDS[best].item(), 2), calibration


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


def marked_by_threshold(probability: Tensor) -> Tensor:
    """Share (B, T) of the pixels of each image that lies above each of `THRESHOLDS`; probability is (B, …)."""
    passed = torch.bucketize(probability.flatten(1), THRESHOLDS)
    counts = torch.stack([_histogram(row) for row in passed])
    return counts.flip(1).cumsum(1).flip(1)[:, 1:] / passed.shape[1]


def _histogram(passed: Tensor) -> Tensor:
    return torch.bincount(passed, minlength=len(THRESHOLDS) + 1)


def _target(batch: Batch, against: Reference) -> tuple[Tensor, Tensor]:
    """What to compare with, and which images count: those with a box, and with a truth that marks something."""
    if against == "truth":
        return batch["truth"], scorable_truth(batch)
    return batch["pseudo_mask"], _boxed(batch)


def _boxed(batch: Batch) -> Tensor:
    return batch["box_mask"].flatten(1).any(1)
