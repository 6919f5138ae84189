import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from boxpromptiml.images import resize_photo
from boxpromptiml.synthesis import region_shapes

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(40, 200), st.integers(40, 200))
def test_a_region_is_connected_and_of_about_the_requested_area(seed, height, width):
    mask = region_shapes.random_region(height, width, np.random.default_rng(seed), 0.05, 0.2)
    assert mask.shape == (height, width)
    assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
    border = 2 * (height + width) / mask.size  # rasterization adds up to half the outline
    assert mask.mean() <= 0.2 + border
    cut = mask[[0, -1]].any() or mask[:, [0, -1]].any()
    assert mask.mean() >= 0.05 - 0.01 or cut


@given(SEEDS, st.integers(40, 200), st.integers(40, 200))
def test_a_geometric_region_is_connected_and_inside_the_image(seed, height, width):
    mask = region_shapes.geometric_region(height, width, np.random.default_rng(seed), 0.05, 0.1)
    assert mask.shape == (height, width)
    assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
    border = 2 * (height + width) / mask.size
    assert mask.mean() <= 0.1 + border
    as_large_as_fits = mask.any(1).mean() > 0.85 or mask.any(0).mean() > 0.85
    assert mask.mean() >= 0.04 or as_large_as_fits


def test_regions_cover_the_range_of_areas_and_every_part_of_the_image():
    rng = np.random.default_rng(0)
    masks = np.stack([region_shapes.random_region(64, 64, rng, 0.02, 0.4) for _ in range(300)])
    areas = masks.mean((1, 2))
    assert 0.015 < areas.min() < 0.03
    assert 0.3 < areas.max() < 0.45
    assert np.median(areas) == pytest.approx(np.sqrt(0.02 * 0.4), rel=0.3)
    reached = masks.any(0)
    assert reached.mean() > 0.99
    assert all(side.all() for side in (reached[0, 9:-9], reached[-1, 9:-9], reached[9:-9, 0], reached[9:-9, -1]))


def test_a_segment_follows_the_edges_of_the_photo():
    photo = np.full((120, 160, 3), 60, np.uint8)
    thing = np.zeros((120, 160), bool)
    thing[30:90, 50:110] = True
    photo[thing] = (220, 80, 40)
    for seed in range(5):
        mask = region_shapes.segment(photo, np.random.default_rng(seed), 0.05, 0.4)
        assert (mask & thing).sum() / (mask | thing).sum() > 0.85


@given(SEEDS)
def test_segments_are_connected_without_holes_and_of_the_requested_size(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), np.uint8)
    mask = region_shapes.segment(resize_photo(noise, 160, 120), np.random.default_rng(seed), 0.02, 0.3)
    if mask is not None:
        assert mask.shape == (120, 160)
        assert 0.01 < mask.mean() < 0.6  # holes are filled
        assert ndimage.binary_fill_holes(mask).sum() == mask.sum()


def test_a_uniform_photo_has_no_segments():
    assert region_shapes.segment(np.full((64, 64, 3), 9, np.uint8), np.random.default_rng(0), 0.02, 0.3) is None


@pytest.mark.parametrize("shape", [region_shapes.ellipse, region_shapes.polygon, region_shapes.blob])
def test_every_outline_is_different(shape):
    rng = np.random.default_rng(0)
    outlines = [shape(rng) for _ in range(20)]
    assert all(np.isfinite(outline).all() for outline in outlines)
    assert len({outline.tobytes() for outline in outlines}) == 20
