"""Scores of pixels and of whole images, their mean over images, and how sure that mean is.

docs/metrics.md gives each formula beside those of other projects. Pixel scores are computed for each image on its own,
to be averaged over images (IMDLBenCo's "origin" mode, the field's headline number); none pools pixels.
An image whose truth and prediction are both empty scores 1, as with scikit-learn's ``zero_division=1``.
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


class RankedPixels:
    """The pixels of one image in the order of their probability: counts at any threshold, from a single sort.

    Args:
        probability: (…) in [0, 1].
        truth: (…) of the same shape, non-zero = manipulated.

    Attributes:
        thresholds: (T,) values in [0, 1], ascending, that give every prediction which a threshold can give.
    """

    def __init__(self, probability: Tensor, truth: Tensor) -> None:
        self._values, order = probability.flatten().sort()
        below = (truth > 0).flatten()[order].cumsum(0)
        self._manipulated_below = F.pad(below, (1, 0))  # among the k lowest pixels
        self.thresholds = torch.cat([self._values.new_zeros(1), self._values]).unique_consecutive()

    def counts(self, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """True positives, false positives and false negatives, each (T,) int64; a pixel has to be above a threshold."""
        below = torch.searchsorted(self._values, thresholds.to(self._values), right=True)
        fn = self._manipulated_below[below]
        tp = self._manipulated_below[-1] - fn
        return tp, len(self._values) - below - tp, fn

    def auc(self) -> Tensor:
        """Area under the ROC curve, ties counted half; NaN where the truth has one class only."""
        tp, fp, _ = self.counts(self.thresholds)
        total = self._manipulated_below[-1]
        everything = total.new_tensor([total, len(self._values) - total])  # below the lowest probability
        rates = torch.cat([everything[:, None], torch.stack([tp, fp])], 1) / everything[:, None].double()
        return -torch.trapezoid(rates[0], rates[1])


def inverted(tp: Tensor, fp: Tensor, fn: Tensor, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, false positives and false negatives of the inverse of a prediction over so many pixels."""
    return fn, pixels - tp - fp - fn, tp


def by_mode(mode: Mode, given: Tensor, inverse: Tensor) -> Tensor:
    """Of the score of a prediction and that of its inverse the one that counts, elementwise; NaN stays NaN."""
    return {"origin": given, "reverse": inverse, "double": torch.maximum(given, inverse)}[mode]


def auc_of_images(manipulated: Scores, authentic: Scores, axis: int = -1) -> Scores:
    """Share of pairs in which the manipulated image has the higher score, ties counted half: the area under the ROC.

    Args:
        manipulated: (…, N) image scores.
        authentic: (…, M) image scores.
        axis: that of the images.
    """
    count, others = manipulated.shape[axis], authentic.shape[axis]
    ranks = stats.rankdata(np.concatenate([manipulated, authentic], axis), axis=axis)
    of_manipulated = np.take(ranks, np.arange(count), axis).sum(axis)
    return (of_manipulated - count * (count + 1) / 2) / (count * others)


def balanced_accuracy(manipulated: Scores, authentic: Scores, threshold: float, axis: int = -1) -> Scores:
    """Mean of the shares of manipulated images above the threshold and of authentic ones not above it."""
    return ((manipulated > threshold).mean(axis) + (authentic <= threshold).mean(axis)) / 2


def best_balanced_accuracy(manipulated: Scores, authentic: Scores) -> tuple[float, float]:
    """The highest balanced accuracy that a threshold in [0, 1] gives on these images, and the lowest such threshold."""
    thresholds = np.unique(np.concatenate([[0.0], manipulated, authentic]))
    found = np.searchsorted(np.sort(manipulated), thresholds, "right") / len(manipulated)
    spared = np.searchsorted(np.sort(authentic), thresholds, "right") / len(authentic)
    accuracy = (1 - found + spared) / 2
    return float(accuracy.max()), float(thresholds[accuracy.argmax()])


def bootstrap_interval(values: ArrayLike, level: float = 0.95, resamples: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over images, with a fixed seed.

    Args:
        values: (N,) one score for each image, in [0, 1].
        level: confidence level.
        resamples: how many times the images are drawn with replacement.

    Returns:
        low and high; (0, 1) for fewer than two images, which say nothing about the spread.
    """
    return bootstrap_interval_of(np.mean, np.asarray(values, float), level=level, resamples=resamples)


def bootstrap_interval_of(
    statistic: Callable[..., Scores | np.floating], *samples: Scores, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of any statistic in [0, 1], each sample drawn on its own. See `bootstrap_interval`.

    Args:
        statistic: takes the samples and the keyword ``axis``.
        samples: one or more of shape (N,).
        level: confidence level.
        resamples: how many times the images of each sample are drawn with replacement.
    """
    if min(len(sample) for sample in samples) < 2:
        return 0.0, 1.0
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        batch=64,  # bounds memory at 64 × N numbers
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
