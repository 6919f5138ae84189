from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from boxpromptiml.core import boxes
from boxpromptiml.core.boxes import with_margin
from boxpromptiml.core.boxes_from_mask import Drawing, boxes_from_mask
from boxpromptiml.core.records import InputError

WIDTH, HEIGHT = 40, 30
SEEDS = st.integers(0, 2**32 - 1)
MASKS = arrays(bool, (HEIGHT, WIDTH), elements=st.booleans(), fill=st.just(False))
MASK = np.zeros((100, 200), bool)
MASK[40:60, 50:90] = True
MASK[10:20, 150:180] = True
TIGHT = np.array([[50, 40, 90, 60], [150, 10, 180, 20]], np.float32)


@given(st.floats(0, 0.4), st.floats(0, 0.4), st.integers(0, 2**32 - 1))
def test_every_side_is_loosened_within_the_requested_bounds(one, other, seed):
    low, high = sorted((one, other))
    drawn = Drawing(high, low, seed=seed).boxes(MASK, Path("a.png"))
    inner, outer = with_margin(TIGHT, low, 200, 100), with_margin(TIGHT, high, 200, 100)
    sign = np.array([-1, -1, 1, 1])
    assert (sign * drawn >= sign * inner - 1e-3).all()
    assert (sign * drawn <= sign * outer + 1e-3).all()


def test_equal_bounds_are_deterministic():
    boxes = [Drawing(0.25, 0.25, seed=seed).boxes(MASK, Path("a.png")) for seed in (0, 1)]
    np.testing.assert_allclose(boxes, [with_margin(TIGHT, 0.25, 200, 100)] * 2, atol=1e-4)


def test_boxes_depend_only_on_name_and_seed():
    first = Drawing().boxes(MASK, Path("set/a.png"))
    np.testing.assert_array_equal(first, Drawing().boxes(MASK, Path("elsewhere/a.tif")))
    assert (first != Drawing().boxes(MASK, Path("set/b.png"))).any()
    assert (first != Drawing(seed=1).boxes(MASK, Path("set/a.png"))).any()


def test_one_box_around_all_regions():
    assert Drawing(0, mode="image").boxes(MASK, Path("a.png")).tolist() == [[50, 10, 180, 60]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"looseness": -0.1}, "looseness is -0.1; use a share from 0 to 1"),
        ({"looseness": 0.1, "looseness_min": 0.2}, "looseness from 0.2 to 0.1"),
        ({"looseness_min": -0.1}, "looseness_min"),
        ({"min_area": 1}, "min_area is 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_invalid_numbers_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        Drawing(**arguments)


@given(MASKS, SEEDS)
def test_every_manipulated_pixel_lies_in_a_box_and_every_box_holds_one(mask, seed):
    found = boxes_from_mask(mask, np.random.default_rng(seed), min_area=0)
    assert not (mask & ~boxes.rasterize(found, WIDTH, HEIGHT)).any()
    for box in found:
        assert (boxes.rasterize(box[None], WIDTH, HEIGHT) & mask).any()


@given(MASKS)
def test_tight_boxes_equal_those_of_scipy(mask):
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    expected = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(labels)]
    found = boxes_from_mask(mask, np.random.default_rng(0), looseness=0, min_area=0)
    np.testing.assert_array_equal(found, boxes.merge_overlapping(boxes.as_boxes(expected)))


def test_specks_get_a_box_only_when_there_is_no_larger_region():
    speck = np.zeros((100, 100), bool)
    speck[90, 90] = True
    region = speck.copy()
    region[10:30, 10:30] = True
    rng = np.random.default_rng(0)
    assert boxes_from_mask(region, rng, 0, min_area=0.01).tolist() == [[10, 10, 30, 30]]
    assert boxes_from_mask(speck, rng, 0, min_area=0.01).tolist() == [[90, 90, 91, 91]]
    assert boxes_from_mask(region, rng, 0, min_area=0, mode="image").tolist() == [[10, 10, 91, 91]]
    assert boxes_from_mask(np.zeros((5, 5), bool), rng).shape == (0, 4)
