"""Scores against scikit-learn and hand-computed cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from boxpromptiml.scores import auc_of_image, bootstrap_interval, counts_per_image, f1_from_counts, iou_from_counts

IMAGES = hnp.arrays(np.float32, (3, 4, 5), elements=st.sampled_from([0.0, 0.2, 0.5, 0.51, 0.9, 1.0]))
TRUTHS = hnp.arrays(np.bool_, (3, 4, 5))


@settings(deadline=None)
@given(probability=IMAGES, truth=TRUTHS)
def test_scores_of_each_image_equal_scikit_learn(probability, truth):
    counts = counts_per_image(torch.from_numpy(probability), torch.from_numpy(truth))
    pairs = list(zip(truth.reshape(3, -1), (probability > 0.5).reshape(3, -1), strict=True))
    for ours, theirs in ((f1_from_counts, f1_score), (iou_from_counts, jaccard_score)):
        expected = [theirs(t, p, zero_division=1.0) for t, p in pairs]
        np.testing.assert_allclose(ours(*counts), expected, atol=1e-6)


@settings(deadline=None)
@given(probability=IMAGES, truth=TRUTHS)
def test_auc_of_an_image_equals_scikit_learn_with_ties(probability, truth):
    ours = auc_of_image(torch.from_numpy(probability[0]), torch.from_numpy(truth[0])).item()
    if truth[0].all() or not truth[0].any():
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(roc_auc_score(truth[0].ravel(), probability[0].ravel()), abs=1e-6)


def test_a_probability_of_one_half_is_not_a_detection():
    tp, fp, fn = counts_per_image(torch.full((1, 4), 0.5), torch.ones(1, 4))
    assert (tp.item(), fp.item(), fn.item()) == (0, 0, 4)


def test_bootstrap_interval_covers_the_normal_one():
    values = np.random.default_rng(1).normal(0.5, 0.1, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.002)
    assert high == pytest.approx(values.mean() + half, abs=0.002)
    assert bootstrap_interval(values) == (low, high)


@pytest.mark.parametrize("values", [[], [0.7]])
def test_one_image_says_nothing_about_the_spread(values):
    assert bootstrap_interval(values) == (0.0, 1.0)
