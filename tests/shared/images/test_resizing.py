"""Resizing, compared with hand-computed area averages when shrinking and torch's interpolation when enlarging."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from boxpromptiml import images

SIDE = st.integers(1, 40)


def test_resized_masks_keep_their_area():
    mask = np.zeros((90, 120), bool)
    mask[30:60, 40:80] = True
    for width, height in ((60, 45), (40, 30), (240, 180), (97, 61)):
        resized = images.resize_mask(mask, width, height)
        assert resized.shape == (height, width)
        assert resized.mean() == pytest.approx(mask.mean(), abs=0.02)


def test_resized_photos_and_probabilities_keep_size_range_and_mean(photo):
    assert images.resize_photo(photo, 30, 20) is photo
    assert images.resize_photo(photo, 15, 10).mean() == pytest.approx(photo.mean(), abs=2)
    probability = photo[..., 0].astype(np.float32) / 255
    for width, height in ((15, 10), (90, 60)):
        resized = images.resize_probability(probability, width, height)
        assert resized.shape == (height, width)
        assert resized.min() >= 0
        assert resized.max() <= 1
        assert resized.mean() == pytest.approx(probability.mean(), abs=0.02)


def by_hand(values, height):
    """Reference implementation: resize an array along its first axis."""
    if height > len(values):
        grown = F.interpolate(torch.from_numpy(values)[None, None], (height, values.shape[1]), mode="bilinear")
        return grown[0, 0].numpy()
    return values.repeat(height, axis=0).reshape(height, len(values), -1).mean(1)


@given(old=st.tuples(SIDE, SIDE), new=st.tuples(SIDE, SIDE), seed=st.integers(0, 9))
def test_each_axis_is_shrunk_or_enlarged_independently(old, new, seed):
    values = np.random.default_rng(seed).random(old, dtype=np.float32)
    width, height = new
    resized = images.resize_probability(values, width, height)
    assert resized.shape == (height, width)
    np.testing.assert_allclose(resized, by_hand(by_hand(values, height).T, width).T, atol=2e-5)
    on_device = images.resize_tensor(torch.from_numpy(values), width, height)
    np.testing.assert_allclose(on_device.numpy(), resized, atol=2e-5)


def test_a_striped_mask_is_averaged_by_area():
    mask = np.zeros((180, 1200), bool)
    for start in range(4):
        mask[:, start::7] = True
    mask[60:120, 300:330] = True
    wanted = by_hand(by_hand(mask.astype(np.float32), 256).T, 256).T >= 0.5
    found = images.resize_mask(mask, 256, 256)
    assert (wanted & found).sum() / (wanted | found).sum() > 0.99


def test_a_speck_and_a_line_survive_resizing():
    mask = np.zeros((400, 300), bool)
    assert not images.resize_mask(mask, 20, 20).any()
    mask[200, 100] = True
    assert images.resize_mask(mask, 20, 20).sum() == 1
    strip = np.zeros((1, 600), bool)
    strip[0, 100:150] = True
    assert images.resize_mask(strip, 256, 256).mean() == pytest.approx(50 / 600, abs=0.005)


def test_weights_of_each_output_pixel_sum_to_one():
    for old, new in ((7, 3), (3, 7), (1, 5), (5, 1), (30_000, 224)):
        rows, columns, weights = images.side_weights(old, new)
        np.testing.assert_allclose(np.bincount(rows, weights, new), 1, atol=1e-4)
        assert columns.max() == old - 1
