"""Resizing inside exports equals that of `predict`: Pillow's grey levels, OpenCV's area and linear interpolation."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boxpromptiml import images
from boxpromptiml.synthesis.photos import packaged_photos
from stage2_distill.inference.export.resizing import resize_probability, shrink_photo

SIDES = st.sampled_from([17, 32, 64])
LENGTHS = st.one_of(st.integers(1, 200), st.sampled_from([16, 24, 48, 96, 128, 256, 320]))  # where sums end in .5


def shrunk(photo, side):
    return shrink_photo(torch.from_numpy(photo), side).permute(0, 2, 3, 1).numpy()


@settings(max_examples=40)
@given(SIDES, LENGTHS, LENGTHS, st.integers(0, 9))
@example(64, 6500, 3, 0)  # a very wide strip
@example(64, 2, 6500, 0)
@example(32, 1, 1, 0)
def test_noise_of_any_size_equals_pillow(side, height, width, seed):
    photos = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    expected = np.stack([images.resize_photo(photo, side, side) for photo in photos])
    np.testing.assert_array_equal(shrunk(photos, side), expected)


@pytest.mark.parametrize("photo", packaged_photos()[:4], ids=lambda photo: photo.scene)
@pytest.mark.parametrize("side", [224, 256])
def test_photos_equal_pillow(photo, side):
    pixels = images.read_photo(photo.path)
    np.testing.assert_array_equal(shrunk(pixels[None], side)[0], images.resize_photo(pixels, side, side))


def one_side(array, length):
    """Resize an array along its first axis with OpenCV."""
    how = cv2.INTER_AREA if length < len(array) else cv2.INTER_LINEAR
    return cv2.resize(array, (array.shape[1], length), interpolation=how)


@settings(max_examples=40)
@given(SIDES, LENGTHS, LENGTHS)
def test_probabilities_are_averaged_or_interpolated_along_each_axis(side, height, width):
    small = np.random.default_rng(0).random((2, 1, side, side), np.float32)
    expected = [one_side(one_side(each[0], height).T.copy(), width).T for each in small]
    found = resize_probability(torch.from_numpy(small), height, width)[:, 0].numpy()
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-5)
