"""Tiling at full resolution: tiles cover every pixel, blend without seams, and run in limited batches."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stage2_distill.inference.scored_map import ScoredMap
from stage2_distill.inference.tiling import OVERLAP, localize_tiled, starts


def red(tiles):
    """A pixel-wise network, whose output tiling must not change, and whose score is a maximum."""
    return [ScoredMap(tile[..., 0].astype(np.float32) / 255, float(tile[..., 1].max()) / 255) for tile in tiles]


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 5))
@settings(deadline=None)
def test_a_pixelwise_network_gives_the_same_as_on_the_whole_photo(height, width, side, batch_size):
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = localize_tiled(photo, side, red, batch_size)
    assert found.probability.shape == (height, width)
    assert np.abs(found.probability - photo[..., 0] / 255).max() < 1e-5
    assert found.score == pytest.approx(photo[..., 1].max() / 255)


@given(st.integers(8, 3000), st.integers(8, 300))
def test_neighbouring_tiles_have_the_specified_overlap(length, side):
    length = max(length, side)
    places = starts(length, side)
    assert places[0] == 0
    assert places[-1] == length - side
    assert all(0 < b - a <= side - side * OVERLAP + 1 for a, b in pairwise(places))


def test_tiles_that_disagree_are_blended_without_a_step():
    answers = iter([0.0, 1.0])
    photo = np.zeros((64, 112, 3), np.uint8)
    found, _ = localize_tiled(
        photo, 64, lambda tiles: [ScoredMap(np.full((64, 64), next(answers), np.float32), 0.5) for _ in tiles]
    )
    assert found[:, 0].max() == 0
    assert found[:, -1].min() == pytest.approx(1)
    assert np.abs(np.diff(found[10])).max() < 0.1


def test_batches_are_no_larger_than_requested():
    seen = []
    localize_tiled(np.zeros((100, 100, 3), np.uint8), 32, lambda tiles: seen.append(len(tiles)) or red(tiles), 3)
    assert max(seen) == 3
    assert sum(seen) == len(starts(100, 32)) ** 2
