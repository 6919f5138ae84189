"""The robustness report and the kept fraction of a score, against hand-computed cases."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.core.records import ImageRecord
from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.data.degradations import Degradation
from stage2_distill.evaluation.metrics import COLUMNS
from stage2_distill.evaluation.robustness_report import draw, markdown, summarize, text

AUTHENTIC = 3


def rows(f1, predicted_area=0.0):
    """Rows of three manipulated images with the given scores, and of an authentic one."""
    table = np.full((4, len(COLUMNS)), 0.5)
    table[:, 0], table[:, 1] = 0, np.arange(4)
    table[:3, COLUMNS.index("f1")] = f1
    table[:, COLUMNS.index("predicted_area")] = predicted_area
    table[AUTHENTIC, COLUMNS.index("auc")] = np.nan
    return table


@pytest.fixture
def sets():
    box = np.zeros((0, 4), np.float32)
    return {
        "set": [
            ImageRecord(i, Path(f"{i}.png"), 8, 8, box, "test", "s", authentic=i == AUTHENTIC)
            for i in range(AUTHENTIC + 1)
        ]
    }


@pytest.fixture
def summary(sets):
    falling = {
        Degradation("noise", 20): rows([0.2, 0.4, 0.0], predicted_area=0.25),
        Degradation("noise", 10): rows([0.4, 0.8, 0.3]),
        Degradation("jpeg", 50): rows([0.3, 0.6, 0.0]),
        Degradation("jpeg", 100): rows([0.6, 0.9, 0.6]),
    }
    return summarize(rows([0.8, 0.9, 0.7]), falling, sets)["set"]


def test_means_are_over_manipulated_images_at_each_level_in_order(summary):
    noise = summary["degraded"]["noise"]["levels"]
    assert [level["level"] for level in noise] == [10, 20]
    assert [level["level"] for level in summary["degraded"]["jpeg"]["levels"]] == [100, 50], "worse and worse"
    assert [level["f1"] for level in noise] == pytest.approx([0.5, 0.2])
    assert noise[0]["f1_ci_low"] < 0.5 < noise[0]["f1_ci_high"]
    assert summary["clean"]["f1"] == pytest.approx(0.8)
    assert summary["clean"]["images"] == AUTHENTIC
    assert (noise[1]["false_alarm_area"], noise[1]["false_alarm_rate"]) == (0.25, 1)


def test_the_kept_fraction_is_the_area_under_the_curve_from_the_undegraded_level(summary):
    # noise: 0.8 at 0, 0.5 at 10, 0.2 at 20; JPEG has no undegraded level: 0.3 at 50, 0.7 at 100
    noise, jpeg = (summary["degraded"][kind]["kept"] for kind in ("noise", "jpeg"))
    assert noise["f1"] == pytest.approx((0.65 * 10 + 0.35 * 10) / 20 / 0.8)
    assert jpeg["f1"] == pytest.approx(0.5 / 0.8)
    assert noise["f1_ci_low"] < noise["f1"] < noise["f1_ci_high"]
    assert noise["auc"] == 1


def test_the_kept_fraction_of_a_single_level_is_its_relative_score(sets):
    kept = summarize(rows([0.8, 0.9, 0.7]), {Degradation("jpeg", 70): rows([0.4, 0.4, 0.4])}, sets)["set"]
    assert kept["degraded"]["jpeg"]["kept"]["f1"] == pytest.approx(0.5)


def test_a_student_with_score_zero_has_no_kept_fraction(sets):
    nothing = summarize(rows(0.0), {Degradation("blur", 3): rows(0.0)}, sets)
    assert "f1" not in nothing["set"]["degraded"]["blur"]["kept"]
    assert "–" in text(nothing)


def test_tables_and_figure_show_every_level(summary, tmp_path):
    both = {"set": summary, "other": summary}
    table = markdown(both, Scoring())
    assert table.count("| Gaussian noise, standard deviation | 10 | 0.500 (") == 2
    assert "25.0%, 100.0%" in table
    assert "10: 0.500, 20: 0.200" in text(both)
    draw(both, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (600, 520)


def test_images_whose_region_vanishes_at_some_level_do_not_count_for_the_kept_fraction(sets):
    """Which ones vanish may differ from level to level."""
    clean, weak, strong = rows([0.8, 0.5, 0.5]), rows([0.8, 0.1, 0.9]), rows([0.4, 0.9, 0.1])
    weak[1, 2:] = np.nan
    strong[2, 2:] = np.nan
    degraded = {Degradation("jpeg", 100): weak, Degradation("jpeg", 50): strong}
    kept = summarize(clean, degraded, sets)["set"]["degraded"]["jpeg"]["kept"]
    assert kept["f1"] == pytest.approx(0.6 / 0.8)
