"""Per-image scores of test photos as torchmetrics, synchronized across processes."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from boxpromptiml.images import resize_tensor
from boxpromptiml.scoring.protocol import Precision, Scoring
from boxpromptiml.scoring.score_functions import (
    RankedPixels,
    by_mode,
    counts_per_image,
    f1_from_counts,
    inverted,
    iou_from_counts,
)
from stage2_distill.data.test_set import ScoredBatch

TRIVIAL = ("f1_all_positive", "f1_nothing", "f1_random", "f1_centre_box")
"""Baselines that ignore the photo: all positive, all negative, random at the true rate, the central half of each
side."""
PIXEL_SCORES = ("f1", "iou", "auc", "f1_best_per_image")
SCORES = (*PIXEL_SCORES, *TRIVIAL, "predicted_area", "image_score", "manipulated_area")
THRESHOLDS = (0.001, 0.002, 0.005, *(percent / 100 for percent in range(1, 100)), 0.995, 0.998, 0.999)
"""Thresholds at which F1 is evaluated to find the best one for a whole set."""
COLUMNS = ("set", "index", *SCORES, *(f"f1_at_{threshold:g}" for threshold in THRESHOLDS))


def in_precision(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context for scoring a student's output, overriding the surrounding precision."""
    if precision == "32-true":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16-mixed" else torch.float16)


class RowPerImage(Metric):
    """Collects a row of numbers per image; across processes every image is counted once.

    Args:
        threshold: pixels with a probability above it are predicted as manipulated.

    Attributes:
        keys: number of leading columns that identify the image.
    """

    full_state_update = False
    keys: int
    rows: list[Tensor]

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        self.add_state("rows", [], dist_reduce_fx="cat")

    def compute(self) -> Tensor:
        """Return (N, columns) float64 sorted by image, without the repetitions that samplers add to the last batch."""
        rows = (torch.cat(list(self.rows)) if isinstance(self.rows, list) else self.rows).cpu()
        _, first = np.unique(rows[:, : self.keys].numpy(), axis=0, return_index=True)
        return rows[first]


class ImageScores(RowPerImage):
    """Rows of `COLUMNS`, one per image of the test sets.

    Args:
        scoring: options.
    """

    keys = 2

    def __init__(self, scoring: Scoring = Scoring()) -> None:  # noqa: B008 (frozen)
        super().__init__(scoring.threshold)
        self.scoring = scoring

    def update_batch(self, set_index: int, batch: ScoredBatch, probability: Tensor, score: Tensor) -> None:
        """Score a batch of one test set; ``probability`` is (B, 1, S, S) and ``score`` (B,), both in [0, 1]."""
        for index, of_image, its_score, truth in zip(
            batch["index"], probability[:, 0], score, batch["truth"], strict=True
        ):
            self.update(set_index, index, of_image, truth, its_score)

    def update(
        self, set_index: int, index: int, probability: Tensor, truth: Tensor | None, score: Tensor | None = None
    ) -> None:
        """Score one image.

        Args:
            set_index: index of the test set.
            index: index of the image in its set.
            probability: (h, w) in [0, 1], at the size of the student or of the ground truth.
            truth: ground truth, (H, W) bool, True = manipulated; None for an image that could not be read. If it
                vanishes at the scoring resolution, the scores are NaN too, because the image is not authentic.
            score: () in [0, 1], of the whole image; by default the largest probability.
        """
        scores = [float("nan")] * (len(COLUMNS) - 2)
        if truth is not None:
            with in_precision("32-true", probability.device):  # resizing uses matrix products
                sized = _at_one_size(probability.float(), truth, self.scoring)
            if sized[1].any() or not truth.any():
                area = truth.double().mean()  # double, so that 1 % falls into the bin from 0.01
                scores = self._score(*sized, sized[0].max() if score is None else score, area)
        self.rows.append(torch.tensor([[set_index, index, *scores]], dtype=torch.float64, device=self.device))

    def _score(self, probability: Tensor, truth: Tensor, score: Tensor, manipulated_area: Tensor) -> list[float]:
        whole = [(probability > self.threshold).float().mean(), score, manipulated_area]
        if self.scoring.stretch:
            low, high = probability.aminmax()
            probability = (probability - low) / (high - low + 1e-8)  # as in SCAF's etest.py
        *scores, curve = _pixel_scores(probability, truth, self.scoring)
        return [score.item() for score in [*scores, *_trivial_f1(truth, self.scoring), *whole]] + curve.tolist()


def _at_one_size(probability: Tensor, truth: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
    if probability.shape == truth.shape:
        return probability, truth
    if scoring.resolution == "network":
        small = F.interpolate(truth[None, None].float(), probability.shape, mode="nearest")  # as IMDLBenCo's masks
        return probability, small[0, 0] > 0
    return resize_tensor(probability, truth.shape[1], truth.shape[0]), truth  # as `predict` does


def _pixel_scores(probability: Tensor, truth: Tensor, scoring: Scoring) -> list[Tensor]:
    """Compute `PIXEL_SCORES` of one image, and its F1 at `THRESHOLDS`."""
    ranked = RankedPixels(probability, truth)
    thresholds = torch.tensor([scoring.threshold, *THRESHOLDS], device=probability.device)
    counts = ranked.counts(torch.cat([thresholds, ranked.thresholds]))
    against = inverted(*counts, truth.numel())
    f1, iou = (by_mode(scoring.mode, score(*counts), score(*against)) for score in (f1_from_counts, iou_from_counts))
    auc = ranked.auc()
    return [f1[0], iou[0], by_mode(scoring.mode, auc, 1 - auc), f1.max(), f1[1 : len(thresholds)]]


def _trivial_f1(truth: Tensor, scoring: Scoring) -> list[Tensor]:
    """Compute F1 of the baselines in `TRIVIAL`; for the random one its limit for many pixels.

    If a fraction p of the pixels is manipulated and a fraction q is marked at random, that limit is 2pq / (p + q).
    """
    height, width = truth.shape
    centre = torch.zeros_like(truth)
    centre[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    predictions = torch.stack([torch.ones_like(truth), torch.zeros_like(truth), centre]).float()
    counts = counts_per_image(predictions, truth.expand(3, -1, -1))
    given, inverse = f1_from_counts(*counts), f1_from_counts(*inverted(*counts, truth.numel()))
    everything, nothing, box = by_mode(scoring.mode, given, inverse)
    rate = truth.float().mean()
    return [everything, nothing, by_mode(scoring.mode, rate, 2 * rate * (1 - rate)), box]
