"""Score rows of degraded photos. The tests of the command cover whole runs."""

import numpy as np

from boxpromptiml.core.records import ImageRecord
from stage2_distill.data.degradations import Degradation
from stage2_distill.evaluation.degraded_scores import unscored_levels, unscored_photos


def test_a_photo_without_scores_is_named(tmp_path):
    boxes = np.zeros((0, 4), np.float32)
    sets = {
        name: [ImageRecord(i, tmp_path / name / f"{i}.png", 8, 8, boxes, "test", name) for i in range(2)]
        for name in ("one", "two")
    }
    rows = np.array([[0, 0, 0.5, 0.5], [0, 1, np.nan, 1], [1, 0, np.nan, np.nan], [1, 1, 0, 0]])
    (reason,) = unscored_photos(rows, sets)
    assert reason.startswith(str(tmp_path / "two/0.png"))
    gone, kept = rows.copy(), rows.copy()
    gone[0, 2:] = np.nan
    lost = unscored_levels(rows, {Degradation("resize", 0.25): gone, Degradation("resize", 0.5): kept}, sets)
    assert lost == {"resize 0.25": [str(tmp_path / "one/0.png")]}
