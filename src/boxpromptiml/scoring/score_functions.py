"""Pixel-level and image-level metrics, and bootstrap confidence intervals of their mean over images.

docs/metrics.md compares the formulas with those of other projects. Pixel metrics are computed per image and then
averaged (IMDLBenCo's "origin" mode, the field's headline number); pixels are never pooled over images. An image with
empty ground truth and empty prediction scores 1, like scikit-learn's ``zero_division=1``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from boxpromptiml.scoring.protocol import Mode

Scores = NDArray[np.float64]


def f1_from_counts(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """F1 = 2 TP / (2 TP + FP + FN), elementwise; 1 if ground truth and prediction are both empty."""
    denominator = 2 * tp + fp + fn
    return torch.where(denominator > 0, 2 * tp / denominator.clamp(min=1), 1.0)


def iou_from_counts(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """IoU = TP / (TP + FP + FN), elementwise; 1 if ground truth and prediction are both empty."""
    denominator = tp + fp + fn
    return torch.where(denominator > 0, tp / denominator.clamp(min=1), 1.0)


def counts_per_image(probability: Tensor, truth: Tensor, threshold: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """Count true positives, false positives and false negatives of each image.

    Args:
        probability: (B, …) in [0, 1].
        truth: ground truth of the same shape, non-zero = manipulated.
        threshold: pixels with a probability strictly above it are predicted as manipulated.

    Returns:
        Three (B,) int64 tensors.
    """
    # torchmetrics' binary_stat_scores(multidim_average="samplewise") fails on a batch of one image (1.9)
    predicted, manipulated = (probability > threshold).flatten(1), (truth > 0).flatten(1)
    tp = (predicted & manipulated).sum(1)
    return tp, predicted.sum(1) - tp, manipulated.sum(1) - tp


class RankedPixels:
    """The pixels of one image sorted by probability, which gives the counts at any threshold from a single sort.

    Args:
        probability: (…) in [0, 1].
        truth: ground truth of the same shape, non-zero = manipulated.

    Attributes:
        thresholds: (T,) values in [0, 1], ascending: one for each distinct binarization.
    """

    def __init__(self, probability: Tensor, truth: Tensor) -> None:
        self._values, order = probability.flatten().sort()
        below = (truth > 0).flatten()[order].cumsum(0)
        self._manipulated_below = F.pad(below, (1, 0))  # among the k lowest pixels
        self.thresholds = torch.cat([self._values.new_zeros(1), self._values]).unique_consecutive()

    def counts(self, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return TP, FP and FN, each (T,) int64, of pixels strictly above each threshold."""
        below = torch.searchsorted(self._values, thresholds.to(self._values), right=True)
        fn = self._manipulated_below[below]
        tp = self._manipulated_below[-1] - fn
        return tp, len(self._values) - below - tp, fn

    def auc(self) -> Tensor:
        """Area under the ROC curve, with ties counted half; NaN if the ground truth has only one class."""
        tp, fp, _ = self.counts(self.thresholds)
        total = self._manipulated_below[-1]
        everything = total.new_tensor([total, len(self._values) - total])  # all pixels predicted as manipulated
        rates = torch.cat([everything[:, None], torch.stack([tp, fp])], 1) / everything[:, None].double()
        return -torch.trapezoid(rates[0], rates[1])


def inverted(tp: Tensor, fp: Tensor, fn: Tensor, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return TP, FP and FN of the inverted prediction, given those of the prediction and the number of pixels."""
    return fn, pixels - tp - fp - fn, tp


def by_mode(mode: Mode, given: Tensor, inverse: Tensor) -> Tensor:
    """Select the score of the prediction or of its inverse according to the mode, elementwise; NaN stays NaN."""
    return {"origin": given, "reverse": inverse, "double": torch.maximum(given, inverse)}[mode]


def auc_of_images(manipulated: Scores, authentic: Scores, axis: int = -1) -> Scores:
    """Image-level ROC AUC: fraction of pairs in which the manipulated image scores higher, with ties counted half.

    Args:
        manipulated: (…, N) scores of manipulated images.
        authentic: (…, M) scores of authentic images.
        axis: axis of the images.
    """
    count, others = manipulated.shape[axis], authentic.shape[axis]
    ranks = stats.rankdata(np.concatenate([manipulated, authentic], axis), axis=axis)
    of_manipulated = np.take(ranks, np.arange(count), axis).sum(axis)
    return (of_manipulated - count * (count + 1) / 2) / (count * others)


def balanced_accuracy(manipulated: Scores, authentic: Scores, threshold: float, axis: int = -1) -> Scores:
    """Mean of the fraction of manipulated images above the threshold and of authentic images at or below it."""
    return ((manipulated > threshold).mean(axis) + (authentic <= threshold).mean(axis)) / 2


def best_balanced_accuracy(manipulated: Scores, authentic: Scores) -> tuple[float, float]:
    """Return the highest balanced accuracy that a threshold in [0, 1] achieves, and the lowest such threshold."""
    thresholds = np.unique(np.concatenate([[0.0], manipulated, authentic]))
    found = np.searchsorted(np.sort(manipulated), thresholds, "right") / len(manipulated)
    spared = np.searchsorted(np.sort(authentic), thresholds, "right") / len(authentic)
    accuracy = (1 - found + spared) / 2
    return float(accuracy.max()), float(thresholds[accuracy.argmax()])


def bootstrap_interval(values: ArrayLike, level: float = 0.95, resamples: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over images, with a fixed seed.

    Args:
        values: (N,) one score per image, in [0, 1].
        level: confidence level.
        resamples: number of bootstrap resamples.

    Returns:
        Lower and upper end; (0, 1) for fewer than two images, from which the spread cannot be estimated.
    """
    return bootstrap_interval_of(np.mean, np.asarray(values, float), level=level, resamples=resamples)


def bootstrap_interval_of(
    statistic: Callable[..., Scores | np.floating], *samples: Scores, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of any statistic in [0, 1], resampling each sample independently.

    See `bootstrap_interval`.

    Args:
        statistic: function of the samples and the keyword ``axis``.
        samples: one or more arrays of shape (N,).
        level: confidence level.
        resamples: number of bootstrap resamples.
    """
    if min(len(sample) for sample in samples) < 2:
        return 0.0, 1.0
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        batch=64,  # limits memory to 64 × N numbers
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
