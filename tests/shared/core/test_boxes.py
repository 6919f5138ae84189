import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.core import boxes
from boxpromptiml.core.records import InputError

WIDTH, HEIGHT = 40, 30
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def box_lists(draw, largest=6):
    """Strategy for lists of whole-pixel boxes inside the image."""
    rows = []
    for _ in range(draw(st.integers(0, largest))):
        x1, y1 = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
        rows.append((x1, y1, draw(st.integers(x1 + 1, WIDTH)), draw(st.integers(y1 + 1, HEIGHT))))
    return boxes.as_boxes(rows)


def contains(outer, inner):
    return (outer[:2] <= inner[:2]).all() and (outer[2:] >= inner[2:]).all()


def test_as_boxes_accepts_empty_input_lists_and_generators_but_no_other_shape():
    assert boxes.as_boxes([]).shape == (0, 4)
    assert boxes.as_boxes(row for row in [(0, 1, 2, 3)]).tolist() == [[0, 1, 2, 3]]
    with pytest.raises(ValueError, match=r"\(N, 4\), found \(1, 3\)"):
        boxes.as_boxes([(0, 1, 2)])


@given(box_lists())
def test_corner_and_coco_conversions_are_inverse(xyxy):
    xywh = boxes.xyxy_to_xywh(xyxy)
    np.testing.assert_array_equal(boxes.xywh_to_xyxy(xywh), xyxy)
    np.testing.assert_array_equal(boxes.area(xyxy), xywh[:, 2] * xywh[:, 3])


def test_clip_turns_a_box_outside_the_image_into_one_without_area():
    clipped = boxes.clip(boxes.as_boxes([(-5, -5, 10, 10), (50, 50, 60, 60)]), WIDTH, HEIGHT)
    assert clipped.tolist() == [[0, 0, 10, 10], [40, 30, 40, 30]]
    assert boxes.area(clipped).tolist() == [100, 0]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((1, 1, 5, 5), None),
        ((-3, -3, 5, 5), None),  # extends over the border and can be clipped
        ((np.nan, 1, 5, 5), "not a number"),
        ((1, 1, np.inf, 5), "not a number"),
        ((5, 1, 1, 5), "reversed"),
        ((1, 1, 1, 5), "without area"),
        ((40, 1, 50, 5), "outside the image"),
    ],
)
def test_defect_says_what_is_wrong(box, words):
    found = boxes.defect(np.array(box, np.float32), WIDTH, HEIGHT)
    assert found is None if words is None else words in found


@given(box_lists(largest=1).filter(len), st.floats(0, 2))
def test_margin_grows_every_side_and_stays_in_the_image(xyxy, margin):
    grown = boxes.with_margin(xyxy, margin, WIDTH, HEIGHT)[0]
    x1, y1, x2, y2 = xyxy[0]
    expected = [x1 - margin * (x2 - x1), y1 - margin * (y2 - y1), x2 + margin * (x2 - x1), y2 + margin * (y2 - y1)]
    np.testing.assert_allclose(grown, np.clip(expected, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]), atol=1e-4)


@given(box_lists())
def test_rasterize_is_the_union_of_the_boxes(xyxy):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    inside = np.zeros((HEIGHT, WIDTH), bool)
    for x1, y1, x2, y2 in xyxy:
        inside |= (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
    np.testing.assert_array_equal(boxes.rasterize(xyxy, WIDTH, HEIGHT), inside)


def test_rasterize_includes_every_pixel_a_box_touches():
    assert boxes.rasterize(boxes.as_boxes([(1.9, 0.1, 2.1, 0.2)]), 5, 2).tolist() == [[0, 1, 1, 0, 0], [0] * 5]


@given(box_lists(), st.floats(0, 0.5), st.floats(0, 1), SEEDS)
def test_loosening_moves_sides_outwards_by_the_requested_amount(xyxy, looseness, share, seed):
    least = looseness * share
    loose = boxes.loosen(xyxy, looseness, np.random.default_rng(seed), WIDTH, HEIGHT, least)
    narrowest, widest = (boxes.with_margin(xyxy, move, WIDTH, HEIGHT) for move in (least, looseness))
    for tight, drawn, limit in zip(narrowest, loose, widest, strict=True):
        assert contains(drawn + np.array([-1e-3, -1e-3, 1e-3, 1e-3]), tight)
        assert contains(limit + np.array([-1e-3, -1e-3, 1e-3, 1e-3]), drawn)


def test_loosening_refuses_to_tighten():
    with pytest.raises(InputError, match=r"looseness is -0\.1"):
        boxes.loosen(boxes.as_boxes([(0, 0, 4, 4)]), -0.1, np.random.default_rng(0), WIDTH, HEIGHT)
    with pytest.raises(InputError, match=r"looseness_min is 0\.2"):
        boxes.loosen(boxes.as_boxes([(0, 0, 4, 4)]), 0.1, np.random.default_rng(0), WIDTH, HEIGHT, 0.2)


@given(box_lists(largest=8), SEEDS)
def test_merged_boxes_cover_the_same_pixels_without_overlap_in_any_order(xyxy, seed):
    merged = boxes.merge_overlapping(xyxy)
    drawn = sum(boxes.rasterize(box[None], WIDTH, HEIGHT).astype(int) for box in merged) if len(merged) else 0
    assert np.max(drawn) <= 1
    assert not (boxes.rasterize(xyxy, WIDTH, HEIGHT) & ~boxes.rasterize(merged, WIDTH, HEIGHT)).any()
    assert all(any(contains(outer, inner) for outer in merged) for inner in xyxy)
    shuffled = np.random.default_rng(seed).permutation(xyxy)
    np.testing.assert_array_equal(boxes.merge_overlapping(shuffled), merged)


def test_boxes_that_only_touch_stay_apart():
    assert len(boxes.merge_overlapping(boxes.as_boxes([(0, 0, 5, 5), (5, 0, 9, 5)]))) == 2


def test_the_box_around_a_polygon():
    assert boxes.around([(3, 9), (1.5, 4), (2, 20)]) == (1.5, 4, 3, 20)
    with pytest.raises(ValueError, match="unpack"):
        boxes.around([])
