"""Pixel scores per image, their mean over images, and how sure that mean is.

Every score here is computed for each image on its own, to be averaged over images (IMDLBenCo's "origin" mode, the
field's headline number); none pools pixels. Inputs are probabilities, never logits: torchmetrics applies a sigmoid to a
batch as soon as one value lies outside [0, 1].
An image whose truth and prediction are both empty scores 1, as with scikit-learn's ``zero_division=1``.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc


def f1_from_counts(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """F1 = 2 TP / (2 TP + FP + FN), elementwise; 1 where nothing is positive in truth or prediction."""
    denominator = 2 * tp + fp + fn
    return torch.where(denominator > 0, 2 * tp / denominator.clamp(min=1), 1.0)


def iou_from_counts(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """IoU = TP / (TP + FP + FN), elementwise; 1 where nothing is positive in truth or prediction."""
    denominator = tp + fp + fn
    return torch.where(denominator > 0, tp / denominator.clamp(min=1), 1.0)


def counts_per_image(probability: Tensor, truth: Tensor, threshold: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, false positives and false negatives of each image.

    Args:
        probability: (B, …) in [0, 1].
        truth: (B, …) of the same shape, non-zero = manipulated.
        threshold: pixels with a probability strictly above it are predicted as manipulated.

    Returns:
        three (B,) int64 tensors.
    """
    # torchmetrics' binary_stat_scores(multidim_average="samplewise") fails on a batch of one image (1.9)
    predicted, manipulated = (probability > threshold).flatten(1), (truth > 0).flatten(1)
    tp = (predicted & manipulated).sum(1)
    return tp, predicted.sum(1) - tp, manipulated.sum(1) - tp


def auc_of_image(probability: Tensor, truth: Tensor) -> Tensor:
    """Area under the ROC curve over the pixels of one image, ties counted half; NaN where truth has one class only."""
    target = (truth > 0).flatten().int()
    if target.min() == target.max():
        return torch.tensor(float("nan"))
    return binary_auroc(probability.flatten(), target)


def bootstrap_interval(values: ArrayLike, level: float = 0.95, resamples: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over images, with a fixed seed.

    Args:
        values: (N,) one score for each image, in [0, 1].
        level: confidence level.
        resamples: how many times the images are drawn with replacement.

    Returns:
        low and high; (0, 1) for fewer than two images, which say nothing about the spread.
    """
    sample = np.asarray(values, float)
    if sample.size < 2:
        return 0.0, 1.0
    result = stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=resamples,
        batch=64,  # bounds memory at 64 × N numbers
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
