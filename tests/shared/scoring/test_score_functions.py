"""Scores, compared with scikit-learn and hand-computed cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score, roc_auc_score

from boxpromptiml.scoring.score_functions import (
    RankedPixels,
    auc_of_images,
    balanced_accuracy,
    best_balanced_accuracy,
    bootstrap_interval,
    bootstrap_interval_of,
    counts_per_image,
    f1_from_counts,
    inverted,
    iou_from_counts,
)

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
    ours = RankedPixels(torch.from_numpy(probability[0]), torch.from_numpy(truth[0])).auc().item()
    if truth[0].all() or not truth[0].any():
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(roc_auc_score(truth[0].ravel(), probability[0].ravel()), abs=1e-6)


@settings(deadline=None)
@given(probability=IMAGES, truth=TRUTHS, thresholds=hnp.arrays(np.float32, 6, elements=st.floats(0, 1, width=32)))
def test_cumulative_counts_equal_those_at_each_threshold(probability, truth, thresholds):
    image, mask = torch.from_numpy(probability[:1]), torch.from_numpy(truth[:1])
    ranked = RankedPixels(image, mask).counts(torch.from_numpy(thresholds))
    for counts, threshold in zip(zip(*ranked, strict=True), thresholds, strict=True):
        assert counts == tuple(part[0] for part in counts_per_image(image, mask, float(threshold)))


@settings(deadline=None)
@given(probability=IMAGES, truth=TRUTHS)
def test_inverted_counts_equal_those_of_the_inverted_prediction(probability, truth):
    predicted, mask = torch.from_numpy(probability) > 0.5, torch.from_numpy(truth)
    counts = inverted(*counts_per_image(predicted.float(), mask), truth[0].size)
    for ours, theirs in zip(counts, counts_per_image((~predicted).float(), mask), strict=True):
        assert torch.equal(ours, theirs)


SCORES = hnp.arrays(np.float64, st.integers(1, 12), elements=st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]))


@settings(deadline=None)
@given(manipulated=SCORES, authentic=SCORES)
def test_image_scores_equal_scikit_learn(manipulated, authentic):
    label = np.repeat([1, 0], [len(manipulated), len(authentic)])
    scores = np.concatenate([manipulated, authentic])
    assert auc_of_images(manipulated, authentic) == pytest.approx(roc_auc_score(label, scores))
    at = {t: balanced_accuracy_score(label, scores > t) for t in (0, 0.1, 0.3, 0.5, 0.7, 0.9)}
    assert balanced_accuracy(manipulated, authentic, 0.5) == pytest.approx(at[0.5])
    best, threshold = best_balanced_accuracy(manipulated, authentic)
    assert best == pytest.approx(max(at.values()))
    assert at[threshold] == pytest.approx(best)


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
def test_fewer_than_two_images_give_the_whole_range_as_interval(values):
    assert bootstrap_interval(values) == (0.0, 1.0)


def test_the_interval_of_an_auc_covers_its_variation_over_new_samples():
    rng = np.random.default_rng(0)
    drawn = [auc_of_images(rng.normal(1, 1, 80), rng.normal(0, 1, 50)) for _ in range(2000)]
    low, high = bootstrap_interval_of(auc_of_images, rng.normal(1, 1, 80), rng.normal(0, 1, 50))
    assert high - low == pytest.approx(np.subtract(*np.percentile(drawn, [97.5, 2.5])), rel=0.3)
    assert bootstrap_interval_of(auc_of_images, rng.random(50), rng.random(1)) == (0.0, 1.0)
