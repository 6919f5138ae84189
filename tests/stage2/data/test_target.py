from dataclasses import replace

import numpy as np
import pytest

from boxpromptiml.core.records import InputError, Sample
from stage2_distill.data.target import Target, displace, training_mask


@pytest.fixture
def disc():
    y, x = np.mgrid[:64, :64]
    return ((x - 32) ** 2 + (y - 32) ** 2 < 15**2).astype(np.uint8) * 255


@pytest.fixture
def sample():
    image, mask = np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 9, np.uint8)
    boxes, scores = np.array([[10, 20, 30, 40]], np.float32), np.ones(1, np.float32)
    return Sample(7, image, mask, mask, boxes, scores, "made", "train", False, "splice", 64, 64)


def iou(first, second):
    return (first & second > 0).sum() / (first | second > 0).sum()


def test_each_target_source_gives_its_mask(sample, disc):
    given = replace(sample, truth=disc)
    assert training_mask(given, Target()) is given.pseudo_mask
    assert training_mask(given, Target("truth")) is disc
    boxes = np.zeros((64, 64), np.uint8)
    boxes[20:40, 10:30] = 255
    np.testing.assert_array_equal(training_mask(given, Target("boxes")), boxes)


def test_an_authentic_image_has_an_empty_target_and_a_missing_ground_truth_is_named(sample):
    authentic = replace(sample, truth=None, authentic=True, boxes_xyxy=np.zeros((0, 4), np.float32))
    assert not training_mask(authentic, Target("truth")).any()
    with pytest.raises(InputError, match=r"image 7 .* no ground truth.*data\.target\.source"):
        training_mask(replace(sample, truth=None), Target("truth"))


def test_displacement_grows_with_sigma_and_is_the_same_in_every_epoch(sample, disc):
    given = [replace(sample, image_id=i, pseudo_mask=disc) for i in range(20)]
    kept = [np.mean([iou(training_mask(each, Target(displaced=s)), disc) for each in given]) for s in (0.01, 0.03, 0.1)]
    assert 1 > kept[0] > kept[1] > kept[2] > 0
    again = [training_mask(given[3], Target(displaced=0.1)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert (again[0] != training_mask(given[4], Target(displaced=0.1))).any()


def test_displacement_keeps_values_and_has_the_stated_standard_deviation():
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))  # one pixel sideways changes the value by 4
    moves = [(displace(ramp, 0.05, seed)[16:48, 16:48].astype(float) - ramp[16:48, 16:48]) / 4 for seed in range(60)]
    expected = 0.05 * 64 * 0.78  # interpolation between grid points reduces the deviation
    assert np.std(moves) == pytest.approx(expected, rel=0.25)
    assert set(np.unique(displace(ramp, 0.05, 0))) <= set(np.unique(ramp))


def test_negative_image_ids_can_be_displaced(disc):
    assert displace(disc, 0.05, -1).shape == disc.shape
