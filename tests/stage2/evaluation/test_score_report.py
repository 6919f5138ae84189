"""The score report against independently computed numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score, roc_auc_score

from boxpromptiml.apps.run_results import read_scores
from boxpromptiml.cli import main
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.scoring.protocol import Scoring
from boxpromptiml.scoring.tables import text
from stage2_distill.evaluation.metrics import ImageScores
from stage2_distill.evaluation.score_report import per_image, summarize


def record(i, authentic=False, kind="splice"):
    none = np.zeros((0, 4), np.float32)
    return ImageRecord(i, Path(f"{i}.png"), 8, 8, none, "test", "s", None, authentic, None if authentic else kind)


@pytest.fixture
def scored():
    """Two sets: three manipulated images and an authentic one; one manipulated and one unreadable image."""
    rng = np.random.default_rng(0)
    sets = {
        "a": [record(1), record(2, kind="removal"), record(3), record(4, authentic=True)],
        "b": [record(5), record(6)],
    }
    board, arrays = ImageScores(), {}
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


def test_means_are_over_manipulated_images_and_authentic_ones_have_a_separate_row(scored):
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
    assert summary["b"]["set_aside"] == ["6.png: no such file; correct its name or restore it"]
    assert "false_alarm_area" not in summary["b"]


def test_a_set_of_authentic_images_has_false_alarms_and_no_f1():
    sets = {"authentic": [record(1, authentic=True)], "whole": [record(2)]}
    board = ImageScores()
    board.update(0, 0, torch.full((8, 8), 0.9), torch.zeros(8, 8, dtype=torch.bool))
    board.update(1, 0, torch.full((8, 8), 0.9), torch.ones(8, 8, dtype=torch.bool))
    summary = summarize(board.compute().numpy(), sets)
    assert summary["authentic"]["false_alarm_area"] == 1
    assert "f1" not in summary["authentic"]
    assert summary["whole"]["f1"] == 1
    assert "auc" not in summary["whole"]  # one class only
    assert text(summary).count("–") > 4


def test_kinds_have_the_scores_of_a_set(scored):
    sets, board, _ = scored
    rows = board.compute().numpy()
    removal = summarize(rows, sets)["a"]["by_kind"]["removal"]
    alone = summarize(rows[rows[:, 1] == 1], {"a": sets["a"]})["a"]
    assert removal == {key: value for key, value in alone.items() if key in removal}
    assert {"f1", "iou", "auc", "f1_centre_box"} <= set(removal)


def test_images_are_grouped_by_the_area_of_the_manipulated_region():
    sets = {"a": [record(i) for i in range(1, 6)] + [record(6, authentic=True)]}
    board = ImageScores()
    for i, manipulated in enumerate([9, 10, 499, 500, 2500, 0]):  # of 1,000 pixels, then of 10,000
        truth = torch.zeros(1000 if i < 2 else 10_000, dtype=torch.bool)
        truth[:manipulated] = True
        board.update(0, i, torch.rand(20, len(truth) // 20), truth.reshape(20, -1))
    rows = board.compute().numpy()
    groups = summarize(rows, sets)["a"]["by_area"]
    assert {name: group["images"] for name, group in groups.items()} == {
        "below 1 %": 1,
        "1 to 5 %": 2,
        "5 to 25 %": 1,
        "from 25 %": 1,
    }
    assert groups["from 25 %"]["f1"] == pytest.approx(per_image(rows, sets)[4]["f1"])


def test_the_threshold_of_a_set_is_best_for_the_mean_of_its_images():
    rng = np.random.default_rng(3)
    sets = {"a": [record(i) for i in range(5)]}
    truths = rng.random((5, 10, 10)) < 0.3
    probabilities = np.clip(0.2 * truths + rng.random((5, 10, 10)), 0, 1).astype(np.float32)
    board = ImageScores()
    for i in range(5):
        board.update(0, i, torch.from_numpy(probabilities[i]), torch.from_numpy(truths[i]))
    row = summarize(board.compute().numpy(), sets)["a"]

    def mean_f1(threshold):
        return np.mean(
            [f1_score(t.ravel(), p.ravel() > np.float32(threshold)) for t, p in zip(truths, probabilities, strict=True)]
        )

    by_threshold = [mean_f1(permille / 1000) for permille in (1, 2, 5, *range(10, 1000, 10), 995, 998, 999)]
    assert row["f1_best_per_set"] == pytest.approx(max(by_threshold))
    assert mean_f1(row["threshold_best_per_set"]) == pytest.approx(max(by_threshold))
    assert row["f1"] < row["f1_best_per_set"] < row["f1_best_per_image"]


def test_whole_images_are_classified_by_their_largest_probability():
    rng = np.random.default_rng(0)
    authentic = rng.random(60) < 0.4
    sets = {"both": [record(i, bool(a)) for i, a in enumerate(authentic)], "one": [record(100)]}
    board, largest = ImageScores(), np.clip(rng.normal(0.6 - 0.2 * authentic, 0.2), 0.1, 0.9).astype(np.float32)
    for i, score in enumerate(largest):
        probability = torch.full((4, 4), 0.1)
        probability[1, 2] = float(score)
        truth = torch.zeros(4, 4, dtype=torch.bool)
        truth[0] = not authentic[i]
        board.update(0, i, probability, truth)
    board.update(1, 0, torch.rand(4, 4), torch.ones(4, 4, dtype=torch.bool))
    rows = board.compute().numpy()
    summary = summarize(rows, sets)
    both = summary["both"]
    assert both["image_auc"] == pytest.approx(roc_auc_score(~authentic, largest))
    assert both["image_balanced_accuracy"] == pytest.approx(balanced_accuracy_score(~authentic, largest > 0.5))
    assert both["image_auc_ci_low"] < both["image_auc"] < both["image_auc_ci_high"]
    carried = summarize(rows, sets, Scoring(image_threshold=both["image_threshold_best"]))["both"]
    assert carried["image_balanced_accuracy"] == pytest.approx(both["image_balanced_accuracy_best"])
    assert both["image_balanced_accuracy_best"] >= both["image_balanced_accuracy"]
    assert "image_auc" not in summary["one"]


def test_scoring_rules_come_from_the_command_line_and_are_stored_with_the_scores(fitted_config):
    folder = fitted_config.parent

    def run(*options):
        words = ["--config", str(fitted_config), "--ckpt_path", str(folder / "checkpoints/best.ckpt")]
        assert main(["test", *words, "--overwrite", "true", *options]) == 3  # a photo is empty on disk
        return read_scores(folder / "test/scores.json")

    plain, double = run(), run("--model.scoring.mode", "double", "--model.scoring.resolution", "network")
    assert plain.scoring == Scoring()
    assert double.scoring == Scoring(mode="double", resolution="network")
    assert double.sets["squares"].f1 >= double.sets["squares"].f1_all_positive > 0
    content = json.loads((folder / "test/scores.json").read_text())
    assert content["sets"]["squares"]["by_area"]["5 to 25 %"]["images"] == 4
    assert 0 <= content["sets"]["squares"]["image_auc"] <= 1
    assert f"| squares | 4 | {double.sets['squares'].f1:.3f}" in (folder / "test/scores.md").read_text()
    assert r"\toprule" in (folder / "test/scores.tex").read_text()


def test_an_unknown_rule_is_refused(tiny_config, capsys):
    with pytest.raises(SystemExit):
        main(["test", "--config", str(tiny_config), "--model.scoring.mode", "triple"])
    assert "triple" in capsys.readouterr().err
