"""Evaluation of all thresholds on the val splits, and choice of the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from boxpromptiml.core.records import InputError
from boxpromptiml.scoring.score_functions import RankedPixels, f1_from_counts
from stage2_distill.data.datamodule import PseudoMaskData
from stage2_distill.data.dataset import Reference, target_of, unpack
from stage2_distill.inference.localizer import Localizer

THRESHOLDS = torch.linspace(0.01, 0.99, 99)


def scores_by_threshold(
    localizer: Localizer, caches: Sequence[Path], against: Reference, batch_size: int, workers: int
) -> tuple[Tensor, Tensor, list[str]]:
    """Evaluate each of `THRESHOLDS` on the val splits.

    Returns:
        (N, T) F1 of manipulated images; (M, T) marked fraction of authentic images; manipulated images with empty
        ground truth, by id and source.
    """
    size = localizer.student.image_size
    data = PseudoMaskData(
        [str(cache) for cache in caches], image_size=size, batch_size=batch_size, workers=workers, authentic=True
    )
    data.setup("validate")
    authentic = torch.from_numpy(data.val_set.authentic)
    sources = [data.val_set.sources[place] for place in data.val_set.source_of]
    scores, alarms, lost = [], [], []
    with torch.inference_mode():
        for packed in tqdm(data.val_dataloader(), unit="batch", desc="calibrate"):
            batch = unpack(packed)
            target, counted = target_of(batch, against)
            clean = authentic[batch["position"]]
            if against == "truth":
                empty = target_of(batch, "pseudo_mask")[1] & batch["has_truth"] & ~counted
                found = zip(batch["image_id"][empty].tolist(), batch["position"][empty].tolist(), strict=True)
                lost += [f"image {image_id} of {sources[position]}" for image_id, position in found]
            probability = localizer(batch["image"].to(localizer.student.mean.device))[0].cpu()
            scores += [f1_by_threshold(probability[counted], target[counted])] if counted.any() else []
            alarms += [marked_by_threshold(probability[clean])] if clean.any() else []
    none = torch.zeros(0, len(THRESHOLDS))
    return torch.cat([none, *scores]), torch.cat([none, *alarms]), lost


def choose_threshold(scores: Tensor, alarms: Tensor, against: Reference, false_alarms: float) -> tuple[float, str]:
    """Return the best threshold, and a description of how it was chosen."""
    if not len(scores):
        raise InputError(f"no manipulated image of the val split has a {against}; use the other choice for --against")
    if false_alarms < 1 and not len(alarms):
        raise InputError("the val split has no authentic images, which false_alarms needs; add some to a cache")
    means, marked = scores.mean(0), alarms.mean(0) if len(alarms) else torch.zeros(len(THRESHOLDS))
    allowed = marked <= false_alarms
    if not allowed.any():
        raise InputError(
            f"false_alarms is {false_alarms:g}, but even the highest threshold marks {marked.min():.1%} of the pixels "
            "of authentic images; allow more, or train with authentic images"
        )
    best = int(torch.where(allowed, means, -1.0).argmax())
    plain = means[THRESHOLDS.sub(0.5).abs().argmin()].item()
    masks = "ground-truth masks" if against == "truth" else "pseudo-masks"
    calibration = (
        f"best mean F1 over {len(scores)} {masks} of the val split: {means[best].item():.3f}; at 0.5 it is {plain:.3f}"
    )
    if false_alarms < 1:
        calibration += (
            f"; it marks {marked[best].item():.1%} of the pixels of {len(alarms)} authentic images "
            f"(at most {false_alarms:.1%} were allowed)"
        )
    return round(THRESHOLDS[best].item(), 2), calibration


def f1_by_threshold(probability: Tensor, target: Tensor) -> Tensor:
    """Compute F1 (B, T) of each image at each of `THRESHOLDS`.

    Args:
        probability: (B, …) in [0, 1].
        target: (B, …) of the same shape; manipulated above 0.5.
    """
    ranked = [RankedPixels(*image) for image in zip(probability, target > 0.5, strict=True)]
    return torch.stack([f1_from_counts(*pixels.counts(THRESHOLDS)) for pixels in ranked])


def marked_by_threshold(probability: Tensor) -> Tensor:
    """Compute the fraction (B, T) of each image's pixels above each of `THRESHOLDS`; probability is (B, …)."""
    ranked = [RankedPixels(image, torch.zeros_like(image)) for image in probability]
    return torch.stack([pixels.counts(THRESHOLDS)[1] / probability[0].numel() for pixels in ranked])
