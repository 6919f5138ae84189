"""F1 and false alarms at every threshold, against scikit-learn and a hand count."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from stage2_distill.evaluation.threshold_choice import THRESHOLDS, f1_by_threshold, marked_by_threshold


def test_f1_at_every_threshold_equals_scikit_learn():
    rng = np.random.default_rng(0)
    probability = rng.random((3, 1, 20, 20)).astype(np.float32)
    probability[0, 0, 0] = np.float32(THRESHOLDS[29])  # a value equal to a threshold is not above it
    truth = rng.random((3, 1, 20, 20)) < 0.3
    found = f1_by_threshold(torch.from_numpy(probability), torch.from_numpy(truth).float())
    assert found.shape == (3, len(THRESHOLDS))
    for image in range(3):
        for index in (0, 29, 30, 98):
            predicted = probability[image] > np.float32(THRESHOLDS[index])
            expected = f1_score(truth[image].ravel(), predicted.ravel())
            assert found[image, index].item() == pytest.approx(expected, abs=1e-6)


def test_marked_pixels_are_strictly_above_the_threshold():
    probability = torch.tensor([[[[0.0, 0.255], [0.505, 1.0]]]])
    marked = marked_by_threshold(probability)[0]
    assert marked.shape == THRESHOLDS.shape
    assert [marked[index].item() for index in (0, 24, 25, 49, 50, 98)] == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25]
