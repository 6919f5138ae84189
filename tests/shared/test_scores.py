"""Scores against scikit-learn, hand-computed cases, and a two-process run."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lightning.fabric import Fabric
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from boxpromptiml.scores import PerImageF1, PerImageIoU, auc_of_image, bootstrap_interval

IMAGES = hnp.arrays(np.float32, (3, 4, 5), elements=st.sampled_from([0.0, 0.2, 0.5, 0.51, 0.9, 1.0]))
TRUTHS = hnp.arrays(np.bool_, (3, 4, 5))


@settings(deadline=None)
@given(probability=IMAGES, truth=TRUTHS)
def test_means_over_images_equal_scikit_learn(probability, truth):
    f1, iou = PerImageF1(), PerImageIoU()
    for metric in (f1, iou):
        metric.update(torch.from_numpy(probability), torch.from_numpy(truth))
    predicted = (probability > 0.5).reshape(3, -1)
    expected = {
        f1: [f1_score(t, p, zero_division=1.0) for t, p in zip(truth.reshape(3, -1), predicted, strict=True)],
        iou: [jaccard_score(t, p, zero_division=1.0) for t, p in zip(truth.reshape(3, -1), predicted, strict=True)],
    }
    for metric, values in expected.items():
        assert metric.compute().item() == pytest.approx(np.mean(values), abs=1e-6)


@settings(deadline=None)
@given(probability=IMAGES, truth=TRUTHS)
def test_auc_of_an_image_equals_scikit_learn_with_ties(probability, truth):
    ours = auc_of_image(torch.from_numpy(probability[0]), torch.from_numpy(truth[0])).item()
    if truth[0].all() or not truth[0].any():
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(roc_auc_score(truth[0].ravel(), probability[0].ravel()), abs=1e-6)


def test_pixels_are_not_pooled_over_images():
    probability = torch.tensor([[0.9, 0.9, 0.9, 0.9], [0.9, 0.1, 0.1, 0.1]])
    truth = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 0]])
    metric = PerImageF1()
    metric.update(probability, truth)
    assert metric.compute().item() == pytest.approx(0.5)  # (1 + 0) / 2; pooled pixels would give 0.8


def test_a_probability_of_one_half_is_not_a_detection():
    metric = PerImageF1()
    metric.update(torch.full((1, 4), 0.5), torch.ones(1, 4))
    assert metric.compute().item() == 0


def test_a_batch_without_images_changes_nothing():
    metric = PerImageIoU()
    metric.update(torch.zeros(0, 1, 2, 2), torch.zeros(0, 1, 2, 2))
    metric.update(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert metric.compute().item() == 1


def _mean_on_two_processes(fabric, probability, truth):
    metric = PerImageF1()
    mine = slice(0, 3) if fabric.global_rank == 0 else slice(3, None)  # unequal shares
    metric.update(probability[mine], truth[mine])
    return metric.compute().item()


def test_two_processes_reduce_to_the_mean_of_all_images():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(10, 16, generator=generator)
    truth = torch.rand(10, 16, generator=generator) > 0.6
    alone = PerImageF1()
    alone.update(probability, truth)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    together = fabric.launch(_mean_on_two_processes, probability, truth)
    assert together == pytest.approx(alone.compute().item(), abs=1e-6)


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
