"""A map is resized, and keeps its score."""

import numpy as np

from boxpromptiml.images import resize_probability
from stage2_distill.inference.scored_map import ScoredMap


def test_resizing_changes_the_map_and_keeps_the_score():
    probability = np.random.default_rng(0).random((4, 6), np.float32)
    resized = ScoredMap(probability, 0.75).resized(3, 2)
    np.testing.assert_array_equal(resized.probability, resize_probability(probability, 3, 2))
    assert resized.score == 0.75
