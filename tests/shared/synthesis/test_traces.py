from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.images import resize_photo
from boxpromptiml.synthesis.recipe import Traces
from boxpromptiml.synthesis.traces import leave_traces, match_colour, to_photo


def texture(seed, side=64):
    noise = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    return resize_photo(noise, side, side)


def test_without_traces_a_photo_is_unchanged():
    photo = texture(0)
    np.testing.assert_array_equal(leave_traces(photo, Traces(), np.random.default_rng(0)), photo)


@pytest.mark.parametrize("name", ["blur", "resample", "brightness", "noise", "jpeg"])
def test_each_trace_can_be_switched_on_alone_and_leaves_the_original(name):
    photo = texture(0)
    before = photo.copy()
    aged = leave_traces(photo, Traces(**{name: 1}), np.random.default_rng(0))
    np.testing.assert_array_equal(photo, before)
    assert aged.shape == photo.shape
    assert aged.dtype == np.uint8
    assert 0.1 < np.abs(aged.astype(int) - photo).mean() < 70


def test_noise_has_the_requested_strength():
    grey = np.full((100, 100, 3), 128, np.uint8)
    noisy = leave_traces(grey, Traces(noise=1, noise_sigma=(5, 5)), np.random.default_rng(0))
    assert noisy.std() == pytest.approx(5, rel=0.05)


def blockiness(photo, offset):
    """Ratio of the mean absolute difference across borders of 8 × 8 blocks to that elsewhere."""
    steps = np.abs(np.diff(photo.astype(float).mean(2), axis=1)).mean(0)
    borders = np.arange(len(steps)) % 8 == (offset - 1) % 8
    return steps[borders].mean() / steps[~borders].mean()


def test_a_shifted_jpeg_grid_moves_the_block_borders():
    noise = Traces(jpeg=1, jpeg_quality=(10, 10), jpeg_shift=1)
    photo = cv2.GaussianBlur(texture(3, 128), (0, 0), 3)
    aligned = leave_traces(photo, replace(noise, jpeg_shift=0), np.random.default_rng(0))
    assert blockiness(aligned, 0) > 1.5
    offsets = {
        max(range(8), key=lambda offset: blockiness(shifted, offset))
        for shifted in (leave_traces(photo, noise, np.random.default_rng(seed)) for seed in range(12))
    }
    assert len(offsets) > 3


@given(st.floats(0, 1))
def test_colours_move_towards_those_of_the_host(strength):
    content, host = texture(1) // 3, texture(2) // 2 + 120
    region = np.zeros((64, 64), bool)
    region[10:40, 20:50] = True
    matched = match_colour(content, region, host, strength)
    away = [abs(picture[region].mean() - host.mean()) for picture in (content, matched)]
    assert away[1] <= away[0] + 1
    if strength == 0:
        np.testing.assert_allclose(matched, content, atol=1)
    if strength > 0.95:
        assert away[1] < 0.25 * away[0]


def test_grey_levels_are_rounded_and_clipped():
    np.testing.assert_array_equal(to_photo(np.array([-3.0, 0.4, 0.6, 254.7, 300])), [0, 0, 1, 255, 255])
