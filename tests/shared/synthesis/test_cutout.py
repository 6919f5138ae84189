import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.images import resize_mask
from boxpromptiml.synthesis.cutout import MARGIN, cut_out, laid_on, transformed

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def box(top, left, height, width, shape=(40, 50)):
    region = np.zeros(shape, bool)
    region[top : top + height, left : left + width] = True
    return region


@given(st.integers(0, 39), st.integers(0, 49), st.integers(1, 40), st.integers(1, 50))
def test_a_cutout_pasted_back_changes_nothing(top, left, height, width):
    region = box(top, left, height, width)
    content, back = laid_on(PHOTO, cut_out(PHOTO, region), top - MARGIN, left - MARGIN)
    np.testing.assert_array_equal(content, PHOTO)
    np.testing.assert_array_equal(back, region)


@given(st.integers(-60, 60), st.integers(-60, 60))
def test_a_cutout_may_extend_over_any_border_or_lie_outside(top, left):
    piece = cut_out(PHOTO, box(10, 10, 12, 15))
    host = np.zeros((30, 30, 3), np.uint8)
    _, region = laid_on(host, piece, top, left)
    rows = range(max(0, top + MARGIN), min(30, top + MARGIN + 12))
    columns = range(max(0, left + MARGIN), min(30, left + MARGIN + 15))
    assert region.sum() == len(rows) * len(columns)


def test_identity_keeps_the_pixels_and_mirroring_twice_restores_them():
    piece = cut_out(PHOTO, box(5, 5, 9, 12))
    assert transformed(piece, 1) is piece
    twice = transformed(transformed(piece, 1, mirror=True), 1, mirror=True)
    np.testing.assert_array_equal(
        twice.photo[MARGIN:-MARGIN, MARGIN:-MARGIN], piece.photo[MARGIN:-MARGIN, MARGIN:-MARGIN]
    )


@pytest.mark.parametrize(("scale", "degrees"), [(0.5, 0), (2, 0), (1, 90), (1, 30), (0.8, -45)])
def test_the_area_follows_the_scale_at_any_rotation(scale, degrees):
    piece = cut_out(PHOTO, box(5, 5, 24, 30))
    changed = transformed(piece, scale, degrees)
    assert changed.mask.sum() == pytest.approx(24 * 30 * scale**2, rel=0.06)
    assert changed.photo.shape[:2] == changed.mask.shape
    if degrees == 90:
        assert changed.mask[MARGIN:-MARGIN, MARGIN:-MARGIN].shape == pytest.approx((30, 24), abs=1)


@given(st.floats(0.02, 1), st.floats(-180, 180), st.integers(1, 30), st.integers(1, 3))
def test_thin_cutouts_never_vanish(scale, degrees, height, width):
    assert transformed(cut_out(PHOTO, box(3, 3, height, width)), scale, degrees).mask.any()


def test_a_thin_region_survives_shrinking():
    assert resize_mask(box(0, 7, 40, 1), 5, 4).any()
    assert not resize_mask(np.zeros((40, 50), bool), 5, 4).any()
