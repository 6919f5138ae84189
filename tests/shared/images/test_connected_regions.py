"""Connected regions of a mask, compared with pycocotools, scikit-image and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco
from scipy import ndimage
from skimage.draw import polygon2mask

from boxpromptiml.images.connected_regions import find_regions, run_lengths

masks = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def shoelace(polygon):
    x, y = np.array(polygon).T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


@given(masks)
def test_pycocotools_reads_the_rle(mask):
    assert np.array_equal(coco.decode(run_lengths(mask)).astype(bool), mask)
    assert run_lengths(mask)["counts"] == coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()


def test_long_runs_are_encoded_as_by_pycocotools():
    mask = np.zeros((3000, 2000), bool)
    mask[100:2500, 50:1900] = True
    mask[7:9, 3] = mask[-1, -1] = True
    assert run_lengths(mask)["counts"] == coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()


@given(masks)
@settings(deadline=None)
def test_exact_polygons_cover_the_regions_and_nothing_else(mask):
    regions = find_regions(mask.astype(np.float32), min_area=0, tolerance=0)
    assert len(regions) == ndimage.label(mask, np.ones((3, 3)))[1]
    drawn = np.zeros(mask.shape, int)
    for region in regions:
        assert shoelace(region.outline) - sum(map(shoelace, region.holes)) == region.area
        for polygon, value in ((region.outline, 1), *((hole, -1) for hole in region.holes)):
            centres = np.array(polygon)[:, ::-1] - 0.5  # rows, columns
            drawn += value * polygon2mask(mask.shape, centres)
    assert np.array_equal(drawn, mask)


def test_statistics_of_a_region_are_over_its_own_pixels():
    probability = np.zeros((40, 60), np.float32)
    probability[5:15, 10:30] = 0.7
    probability[9, 12] = 0.9
    probability[30:34, 50:54] = 0.8
    first, second = find_regions(probability)
    assert first.box_xyxy == (10, 5, 30, 15)
    assert first.area == 200
    assert first.score == pytest.approx(0.9)
    assert sorted(second.outline) == [(50, 30), (50, 34), (54, 30), (54, 34)]
    assert second.score == pytest.approx(0.8)
    assert not first.holes


def test_specks_count_only_when_there_is_no_larger_region():
    probability = np.zeros((100, 100), np.float32)
    probability[3, 3] = 1
    assert [region.area for region in find_regions(probability)] == [1]
    probability[50:60, 50:60] = 1
    assert [region.area for region in find_regions(probability)] == [100]
    assert find_regions(np.zeros((5, 5), np.float32)) == []


def test_a_tolerance_gives_fewer_corners_close_to_the_outline():
    y, x = np.mgrid[:200, :200]
    disc = ((x - 100) ** 2 + (y - 100) ** 2 < 80**2).astype(np.float32)
    (exact,), (simple,) = find_regions(disc, tolerance=0), find_regions(disc, tolerance=2)
    assert len(simple.outline) < len(exact.outline) / 4
    assert shoelace(simple.outline) == pytest.approx(exact.area, rel=0.02)
