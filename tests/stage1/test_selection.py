import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxpromptiml.core.boxes import as_boxes, rasterize, with_margin
from boxpromptiml.images import resize_probability, to_uint8
from stage1_pseudomask.selection import quality, select, stored
from stage1_pseudomask.teachers import Candidates

HEIGHT, WIDTH = 20, 30


@st.composite
def cases(draw):
    corners = st.tuples(st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2), st.integers(1, 12), st.integers(1, 12))
    boxes = as_boxes(
        [(x, y, min(WIDTH, x + w), min(HEIGHT, y + h)) for x, y, w, h in draw(st.lists(corners, max_size=4))]
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (len(boxes), draw(st.sampled_from([1, 3])))
    probability = rng.random((*shape, HEIGHT, WIDTH), dtype=np.float32) * draw(st.sampled_from([0.4, 1.0]))
    return Candidates(probability, rng.random(shape, dtype=np.float32)), boxes, draw(st.sampled_from([0.0, 0.1, 0.5]))


@settings(deadline=None)
@given(cases())
def test_a_pseudo_mask_stays_in_its_boxes_and_no_box_is_empty(case):
    candidates, boxes, margin = case
    mask, scores = select(candidates, boxes, margin)
    mask, scores = mask.numpy(), scores.numpy()
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert scores.shape == (len(boxes),)
    assert not mask[~rasterize(with_margin(boxes, margin, WIDTH, HEIGHT), WIDTH, HEIGHT)].any()
    for i in range(len(boxes)):
        assert (mask[rasterize(with_margin(boxes[i : i + 1], margin, WIDTH, HEIGHT), WIDTH, HEIGHT)] > 0.5).any()


def test_the_candidate_with_the_best_score_is_selected():
    probability = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
    for k in range(3):
        probability[0, k, 5 : 6 + k, 5:10] = 0.9
    mask, scores = select(
        Candidates(probability, np.array([[0.2, 0.7, 0.3]], np.float32)), as_boxes([(4, 4, 12, 12)]), 0
    )
    assert np.array_equal(mask, probability[0, 1])
    assert scores == np.float32(0.7)


def test_overlapping_boxes_use_the_larger_probability():
    probability = np.zeros((2, 1, HEIGHT, WIDTH), np.float32)
    probability[0], probability[1] = 0.6, 0.8
    boxes = as_boxes([(0, 0, 10, 10), (5, 5, 15, 15)])
    mask, _ = select(Candidates(probability, np.ones((2, 1), np.float32)), boxes, 0)
    assert mask[2, 2] == np.float32(0.6)
    assert mask[7, 7] == mask[12, 12] == np.float32(0.8)


def test_a_box_without_a_mask_is_filled_with_score_zero():
    elsewhere = np.zeros((1, 1, HEIGHT, WIDTH), np.float32)
    elsewhere[..., 15:, 20:] = 1
    mask, scores = select(Candidates(elsewhere, np.ones((1, 1), np.float32)), as_boxes([(2, 3, 8, 9)]), 0.1)
    assert np.array_equal(mask > 0, rasterize(as_boxes([(2, 3, 8, 9)]), WIDTH, HEIGHT))
    assert scores == 0


def logit(x):
    return 1 / (1 + np.exp(-x))


def test_quality_is_score_times_stability_times_fit():
    """Hand-computed: 6 × 6 pixels above the upper and 8 × 6 above the lower threshold, in a box of 10 × 8."""
    probability = np.zeros((1, 2, HEIGHT, WIDTH), np.float32)
    probability[0, 0, 4:10, 5:13] = logit(0.5)
    probability[0, 0, 4:10, 5:11] = logit(2.0)
    scores = np.array([[0.8, 1.0]], np.float32)
    found = quality(torch.from_numpy(probability), torch.from_numpy(scores), as_boxes([(4, 3, 14, 11)]))
    assert found.numpy() == pytest.approx(np.array([[0.8 * 36 / 48 * 48 / 80, 0.0]]))


def test_quality_prefers_the_candidate_that_fills_its_box():
    probability = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
    for k, side in enumerate((3, 9, 18)):
        probability[0, k, 1 : 1 + side, 2 : 2 + side] = 1
    candidates = Candidates(probability, np.array([[0.9, 0.8, 0.85]], np.float32))
    boxes = as_boxes([(2, 1, 12, 11)])
    by_score, score = select(candidates, boxes, 0.0)
    by_quality, kept = select(candidates, boxes, 0.0, "quality")
    assert (by_score.numpy() == probability[0, 0]).all()
    assert (by_quality.numpy() == probability[0, 1]).all()
    assert score.tolist() == pytest.approx([0.9])
    assert kept.tolist() == pytest.approx([0.8 * 81 / 100])


@settings(deadline=None)
@given(cases())
def test_quality_is_at_most_the_score_and_keeps_the_invariants_of_select(case):
    candidates, boxes, margin = case
    mask, scores = select(candidates, boxes, margin, "quality")
    assert (scores.numpy() <= np.asarray(candidates.scores).max(1, initial=0) + 1e-6).all()
    assert not mask.numpy()[~rasterize(with_margin(boxes, margin, WIDTH, HEIGHT), WIDTH, HEIGHT)].any()


@pytest.mark.parametrize("shape", [(64, 64), (150, 97), (512, 384), (33, 40), (20, 200)])
def test_masks_are_stored_as_area_means_equal_to_opencv(shape):
    probability = np.random.default_rng(0).random(shape, dtype=np.float32)
    expected = to_uint8(resize_probability(probability, 64, 64)).astype(int)
    found = stored(torch.from_numpy(probability), 64).numpy()
    assert found.shape == (64, 64)
    assert np.abs(found - expected).max() <= 1
