"""A student's result for one photo."""

from __future__ import annotations

from typing import NamedTuple

from boxpromptiml.images import Probability, resize_probability


class ScoredMap(NamedTuple):
    """A probability map, and a score of the whole photo.

    Attributes:
        probability: (H, W) float32 in [0, 1].
        score: in [0, 1]; see `Localization`.
    """

    probability: Probability
    score: float

    def resized(self, width: int, height: int) -> ScoredMap:
        """Resize the map; the score does not depend on its size."""
        return ScoredMap(resize_probability(self.probability, width, height), self.score)
