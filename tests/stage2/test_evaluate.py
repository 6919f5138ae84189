"""The score table against numbers computed independently."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from boxpromptiml.records import ImageRecord
from stage2_distill.evaluate import Scoreboard, per_image, summarize, table


def record(i, authentic=False, kind="splice"):
    none = np.zeros((0, 4), np.float32)
    return ImageRecord(i, Path(f"{i}.png"), 8, 8, none, "test", "s", None, authentic, None if authentic else kind)


@pytest.fixture
def scored():
    """Two sets: three manipulated images and one authentic; one manipulated and one that could not be read."""
    rng = np.random.default_rng(0)
    sets = {
        "a": [record(1), record(2, kind="removal"), record(3), record(4, authentic=True)],
        "b": [record(5), record(6)],
    }
    board, arrays = Scoreboard(), {}
    for s, name in enumerate(sets):
        for i, each in enumerate(sets[name]):
            truth = np.zeros((8, 8), bool) if each.authentic else rng.random((8, 8)) < 0.3
            probability = rng.random((8, 8)).astype(np.float32)
            arrays[name, i] = truth, probability
            unreadable = (name, i) == ("b", 1)
            board.update(s, i, torch.from_numpy(probability), None if unreadable else torch.from_numpy(truth))
    return sets, board, arrays


def test_every_row_equals_scikit_learn(scored):
    sets, board, arrays = scored
    rows = per_image(board.compute().numpy(), sets)
    truth, probability = arrays["a", 1]
    row = rows[1]
    flat = truth.ravel(), (probability > 0.5).ravel()
    assert row["image_id"] == 2
    assert row["f1"] == pytest.approx(f1_score(*flat))
    assert row["iou"] == pytest.approx(jaccard_score(*flat))
    assert row["auc"] == pytest.approx(roc_auc_score(truth.ravel(), probability.ravel()))
    centre = np.zeros((8, 8), bool)
    centre[2:6, 2:6] = True
    assert row["f1_centre_box"] == pytest.approx(f1_score(truth.ravel(), centre.ravel()))
    assert row["f1_all_positive"] == pytest.approx(f1_score(truth.ravel(), np.ones(64, bool)))
    assert row["f1_nothing"] == 0
    assert rows[3]["kind"] == "authentic"
    assert rows[3]["auc"] is None


def test_random_prediction_at_the_true_rate_approaches_its_limit():
    rng = np.random.default_rng(0)
    truth = rng.random((400, 400)) < 0.2
    board = Scoreboard()
    board.update(0, 0, torch.rand(400, 400), torch.from_numpy(truth))
    limit = per_image(board.compute().numpy(), {"a": [record(1)]})[0]["f1_random"]
    drawn = f1_score(truth.ravel(), (rng.random(truth.size) < truth.mean()))
    assert limit == pytest.approx(drawn, abs=0.01)


def test_means_are_over_manipulated_images_and_authentic_ones_have_their_own_row(scored):
    sets, board, _ = scored
    rows = board.compute().numpy()
    summary, table = summarize(rows, sets), per_image(rows, sets)
    f1 = [row["f1"] for row in table[:3]]
    assert summary["a"]["images"] == 3
    assert summary["a"]["f1"] == pytest.approx(np.mean(f1))
    assert summary["a"]["f1_ci_low"] < summary["a"]["f1"] < summary["a"]["f1_ci_high"]
    assert summary["a"]["by_kind"]["removal"]["f1"] == pytest.approx(f1[1])
    assert summary["a"]["false_alarm_rate"] == 1
    assert summary["a"]["false_alarm_area"] == pytest.approx(table[3]["predicted_area"])
    assert summary["b"]["images"] == 1
    assert summary["b"]["set_aside"] == ["6.png"]
    assert "false_alarm_area" not in summary["b"]


def test_an_image_that_two_processes_scored_counts_once(scored):
    _sets, board, arrays = scored
    once = board.compute()
    truth, probability = arrays["a", 0]
    board.update(0, 0, torch.from_numpy(probability), torch.from_numpy(truth))  # a sampler pads the last batch
    torch.testing.assert_close(board.compute(), once, equal_nan=True)


def test_a_set_of_authentic_images_has_false_alarms_and_no_invented_score():
    sets = {"authentic": [record(1, authentic=True)], "whole": [record(2)]}
    board = Scoreboard()
    board.update(0, 0, torch.full((8, 8), 0.9), torch.zeros(8, 8, dtype=torch.bool))
    board.update(1, 0, torch.full((8, 8), 0.9), torch.ones(8, 8, dtype=torch.bool))
    summary = summarize(board.compute().numpy(), sets)
    assert summary["authentic"]["false_alarm_area"] == 1
    assert "f1" not in summary["authentic"]
    assert summary["whole"]["f1"] == 1
    assert "auc" not in summary["whole"]  # one class only
    assert table(summary).count("–") > 4


def test_the_table_has_a_row_for_each_set_and_each_kind_of_manipulation(scored):
    sets, board, _ = scored
    summary = summarize(board.compute().numpy(), sets)
    header, *rows = table(summary).splitlines()
    assert [row.split()[:2] for row in rows] == [
        ["a", "3"],
        ["removal", "1"],
        ["splice", "2"],
        ["authentic", "1"],
        ["b", "1"],  # one kind: its row would be that of the set
    ]
    f1 = header.index("F1")
    assert [row[f1 : f1 + 5] for row in rows[:3]] == [
        f"{score['f1']:.3f}" for score in (summary["a"], *summary["a"]["by_kind"].values())
    ]
    area = summary["a"]["false_alarm_area"]
    assert f"marked by mistake: {area:.1%} of pixels, in 100.0% of images" in rows[3]
    assert len({len(row) for row in rows if "mistake" not in row}) == 1


def test_kinds_have_the_scores_of_a_set(scored):
    sets, board, _ = scored
    rows = board.compute().numpy()
    removal = summarize(rows, sets)["a"]["by_kind"]["removal"]
    alone = summarize(rows[rows[:, 1] == 1], {"a": sets["a"]})["a"]
    assert removal == {key: value for key, value in alone.items() if key in removal}
    assert {"f1", "iou", "auc", "f1_centre_box"} <= set(removal)
