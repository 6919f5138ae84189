"""Image scores against independent implementations, under every scoring rule, and over two processes."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.evaluation.metrics import COLUMNS, ImageScores

MODES = ("origin", "reverse", "double")


def case(seed):
    """Probabilities and ground truth of one size; each is empty in one of 16 cases and full in another."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 20, 2)
    truth = rng.random(size) < rng.random()
    probability = np.round(rng.random(size), rng.integers(1, 8)).astype(np.float32)  # with ties, and exactly 0.5
    special = rng.integers(0, 16, 2)
    if special[0] < 2:
        truth[:] = bool(special[0])
    if special[1] < 2:
        probability[:] = special[1] * 0.9
    return probability, truth


def scored(probability, truth, scoring=Scoring()):  # noqa: B008 (frozen)
    board = ImageScores(scoring)
    board.update(0, 0, torch.from_numpy(probability), torch.from_numpy(truth))
    return dict(zip(COLUMNS, board.compute()[0].tolist(), strict=True))


def test_f1_iou_and_auc_equal_scikit_learn_on_a_thousand_cases():
    seen = set()
    for seed in range(1000):
        probability, truth = case(seed)
        row, predicted = scored(probability, truth), probability > 0.5
        seen.add((truth.any(), truth.all(), predicted.any(), predicted.all()))
        flat = truth.ravel(), predicted.ravel()
        assert row["f1"] == pytest.approx(f1_score(*flat, zero_division=1.0), abs=1e-6), seed
        assert row["iou"] == pytest.approx(jaccard_score(*flat, zero_division=1.0), abs=1e-6), seed
        if truth.any() and not truth.all():
            assert row["auc"] == pytest.approx(roc_auc_score(truth.ravel(), probability.ravel()), abs=1e-6), seed
        else:
            assert np.isnan(row["auc"])
    empty, full, mixed = (False, False), (True, True), (True, False)
    assert {(*t, *p) for t in (empty, full, mixed) for p in (empty, full, mixed)} == seen


@pytest.mark.parametrize("seed", range(8))
def test_the_best_threshold_is_the_best_of_all_possible_thresholds(seed):
    probability, truth = case(seed)
    for mode in MODES:
        predictions = [probability > threshold for threshold in (0, *np.unique(probability))]
        if mode == "reverse":
            predictions = [~predicted for predicted in predictions]
        if mode == "double":
            predictions += [~predicted for predicted in predictions]
        best = max(f1_score(truth.ravel(), predicted.ravel(), zero_division=1.0) for predicted in predictions)
        assert scored(probability, truth, Scoring(mode=mode))["f1_best_per_image"] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("threshold", [0.25, 0.5])
def test_modes_score_the_inverted_prediction_or_the_better_of_both(threshold):
    for seed in range(60):
        probability, truth = case(seed)
        rows = {
            mode: scored(probability, truth, Scoring(threshold, mode=mode)) for mode in ("origin", "reverse", "double")
        }
        inverse = truth.ravel(), (probability <= threshold).ravel()
        assert rows["reverse"]["f1"] == pytest.approx(f1_score(*inverse, zero_division=1.0), abs=1e-6)
        assert rows["reverse"]["iou"] == pytest.approx(jaccard_score(*inverse, zero_division=1.0), abs=1e-6)
        for name in ("f1", "iou", "f1_all_positive", "f1_random", "f1_centre_box"):
            assert rows["double"][name] == max(rows["origin"][name], rows["reverse"][name])
        for name in ("predicted_area", "image_score", "manipulated_area"):
            assert len({row[name] for row in rows.values()}) == 1
        if truth.any() and not truth.all():
            assert rows["reverse"]["auc"] == pytest.approx(
                roc_auc_score(truth.ravel(), 1 - probability.ravel()), abs=1e-6
            )


@pytest.mark.parametrize("mode", ["origin", "reverse"])
def test_a_random_prediction_at_the_true_rate_approaches_its_limit(mode):
    rng = np.random.default_rng(0)
    truth = rng.random((400, 400)) < 0.2
    drawn = rng.random(truth.size) < truth.mean()
    expected = f1_score(truth.ravel(), drawn if mode == "origin" else ~drawn)
    row = scored(rng.random((400, 400), np.float32), truth, Scoring(mode=mode))
    assert row["f1_random"] == pytest.approx(expected, abs=0.01)


def test_a_small_prediction_is_scored_at_the_size_of_the_ground_truth_or_its_own():
    rng = np.random.default_rng(0)
    small = cv2.GaussianBlur(rng.random((16, 16), np.float32), (5, 5), 0)
    truth = np.zeros((50, 70), bool)
    truth[10:30, 20:60] = True
    large = cv2.resize(small, (70, 50), interpolation=cv2.INTER_LINEAR)
    at_truth = f1_score(truth.ravel(), (large > 0.5).ravel())
    assert scored(small, truth)["f1"] == pytest.approx(at_truth, abs=2e-3)  # OpenCV rounds its weights
    shrunk = cv2.resize(truth.astype(np.uint8), (16, 16), interpolation=cv2.INTER_NEAREST)
    row = scored(small, truth, Scoring(resolution="network"))
    assert row["f1"] == pytest.approx(f1_score(shrunk.ravel(), (small > 0.5).ravel()))
    assert row["manipulated_area"] == pytest.approx(truth.mean())
    assert row["predicted_area"] == pytest.approx((small > 0.5).mean())


def test_min_max_normalization_always_marks_pixels_and_keeps_the_image_score():
    probability = np.float32([[0.1, 0.1], [0.2, 0.3]])
    truth = np.array([[False, False], [False, True]])
    plain, stretched = scored(probability, truth), scored(probability, truth, Scoring(stretch=True))
    assert plain["f1"] == 0
    assert stretched["f1"] == 1  # 0, 0, 0.5, 1
    assert stretched["auc"] == plain["auc"] == 1
    assert stretched["image_score"] == pytest.approx(0.3)
    assert stretched["predicted_area"] == 0


RANK = """
import sys
import numpy as np
import torch
from torch import distributed
from stage2_distill.evaluation.metrics import ImageScores

store, out, mine = sys.argv[1], sys.argv[2], sys.argv[4:]
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=int(sys.argv[3]), world_size=2)
board = ImageScores()
for index in map(int, mine):
    rng = np.random.default_rng(index)
    truth = None if index == 3 else torch.from_numpy(rng.random((9, 7)) < 0.3)
    board.update(index % 2, index, torch.from_numpy(rng.random((9, 7), np.float32)), truth)
np.save(out, board.compute().numpy())
distributed.destroy_process_group()
"""


def test_two_processes_give_the_same_rows_as_one(tmp_path):
    shares = [0, 2, 4, 6, 8], [1, 3, 5, 7, 0]  # the sampler repeats the first image to fill the second share
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, tmp_path / "store", tmp_path / f"{rank}.npy", str(rank), *map(str, share)],
            env=environment,
        )
        for rank, share in enumerate(shares)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    alone = ImageScores()
    for index in range(9):
        rng = np.random.default_rng(index)
        truth = None if index == 3 else torch.from_numpy(rng.random((9, 7)) < 0.3)
        alone.update(index % 2, index, torch.from_numpy(rng.random((9, 7), np.float32)), truth)
    for rank in range(2):
        np.testing.assert_array_equal(np.load(tmp_path / f"{rank}.npy"), alone.compute().numpy())
