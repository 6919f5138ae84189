import json

import numpy as np
import pytest
from scipy import stats

from boxpromptiml.apps.compare import compare
from boxpromptiml.core.records import InputError


def write_scores(path, scores):
    """Write a run's scores; ``scores`` maps a test set to the F1 of its images."""
    cases = [
        {"set": name, "image_id": i, "file": f"{i}.png", "kind": "splice", "f1": float(value)}
        for name, values in scores.items()
        for i, value in enumerate(values)
    ]
    cases.append({"set": "casia1", "image_id": 999, "file": "a.png", "kind": "authentic", "f1": 0.0})
    path.write_text(json.dumps({"sets": {}, "per_image": cases, "scoring": {"precision": "32-true"}}))
    return path


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(0)
    hard = {"casia1": rng.uniform(0, 0.8, 30), "imd2020": rng.uniform(0, 0.8, 20)}
    sides = []
    for gain in (0.0, 0.1):
        scores = [{n: v + gain + rng.normal(0, 0.02, len(v)) for n, v in hard.items()} for _ in range(3)]
        sides.append([write_scores(tmp_path / f"{gain}-{i}.json", s) for i, s in enumerate(scores)])
    return sides


def test_a_gain_on_every_image_is_significant_although_images_differ_much(runs, tmp_path, capsys):
    assert compare(*runs, pool=["casia1", "imd2020"], out=tmp_path / "difference.json") == 0
    rows = json.loads((tmp_path / "difference.json").read_text())["sets"]
    assert {name: row["images"] for name, row in rows.items()} == {"casia1": 30, "imd2020": 20, "casia1 + imd2020": 50}
    for row in rows.values():
        assert row["difference"] == pytest.approx(0.1, abs=0.02)
        assert 0.07 < row["difference_ci_low"] < row["difference_ci_high"] < 0.13
        assert row["baseline_ci_high"] > row["candidate_ci_low"]  # an unpaired comparison would be inconclusive
        assert len(row["baseline_runs"]) == len(row["candidate_runs"]) == 3
    output = capsys.readouterr().out
    assert "casia1 + imd2020" in output
    assert "+0.1" in output


def test_the_interval_of_one_run_is_that_of_a_paired_bootstrap(tmp_path):
    rng = np.random.default_rng(1)
    before, after = rng.uniform(0, 1, 40), rng.uniform(0, 1, 40)
    paths = [[write_scores(tmp_path / f"{i}.json", {"casia1": side})] for i, side in enumerate((before, after))]
    compare(*paths, out=tmp_path / "difference.json")
    row = json.loads((tmp_path / "difference.json").read_text())["sets"]["casia1"]
    peer = stats.bootstrap((after - before,), np.mean, n_resamples=9999, method="percentile", random_state=0)
    assert row["difference"] == pytest.approx((after - before).mean())
    assert row["difference_ci_low"] == pytest.approx(peer.confidence_interval.low, abs=0.01)
    assert row["difference_ci_high"] == pytest.approx(peer.confidence_interval.high, abs=0.01)


def test_runs_that_disagree_widen_the_interval(tmp_path):
    values = np.full(200, 0.5)
    before = [write_scores(tmp_path / "b.json", {"casia1": values})]
    after = [write_scores(tmp_path / f"{gain}.json", {"casia1": values + gain}) for gain in (-0.2, 0.3)]
    compare(before, after, out=tmp_path / "difference.json")
    row = json.loads((tmp_path / "difference.json").read_text())["sets"]["casia1"]
    assert row["difference_ci_low"] == pytest.approx(-0.2)
    assert row["difference_ci_high"] == pytest.approx(0.3)


def test_sets_that_differ_between_runs_can_be_left_out(tmp_path, capsys):
    paths = [
        write_scores(tmp_path / f"{n}.json", {"own": np.full(n, 0.9), "casia1": np.full(8, n / 100)}) for n in (10, 20)
    ]
    assert compare(paths[:1], paths[1:], sets=["casia1"]) == 0
    output = capsys.readouterr().out
    assert "own" not in output
    assert "+0.100" in output


def test_different_images_unknown_sets_and_missing_files_are_named(runs, tmp_path):
    other = write_scores(tmp_path / "other.json", {"casia1": [0.5] * 29})
    with pytest.raises(InputError, match=r"other\.json: its 29 scored images are not the 50"):
        compare(runs[0], [other])
    with pytest.raises(InputError, match="no scores for noso; the runs have scores for: casia1, imd2020"):
        compare(*runs, pool=["noso"])
    with pytest.raises(InputError, match=r"absent\.json: no such file"):
        compare(runs[0], [tmp_path / "absent.json"])
    with pytest.raises(InputError, match="runs on both sides"):
        compare(runs[0], [])


def test_other_photos_under_the_same_ids_are_not_compared(tmp_path):
    paths = [write_scores(tmp_path / f"{i}.json", {"casia1": [0.1, 0.2], "own": [0.3]}) for i in range(2)]
    content = paths[1].read_text()
    paths[1].write_text(content.replace("1.png", "D:\\\\set\\\\1.png"))  # the same photo on another machine
    assert compare(paths[:1], paths[1:]) == 0
    paths[1].write_text(content.replace("1.png", "other.png"))
    with pytest.raises(InputError, match=r"1\.json: image 1 of casia1 is other\.png here, but 1\.png in .*0\.json"):
        compare(paths[:1], paths[1:])
    assert compare(paths[:1], paths[1:], sets=["own"]) == 0


def test_a_run_given_twice_counts_once(runs):
    with pytest.raises(InputError, match=r"0\.0-0\.json: listed twice"):
        compare(runs[0], [*runs[1], runs[0][0]])


def test_runs_scored_by_different_rules_are_not_compared(tmp_path):
    paths = [write_scores(tmp_path / f"{i}.json", {"casia1": [0.1, 0.2]}) for i in range(2)]
    content = json.loads(paths[1].read_text())
    paths[1].write_text(json.dumps(content | {"scoring": {"threshold": 0.5, "mode": "origin", "precision": "32-true"}}))
    assert compare(paths[:1], paths[1:]) == 0
    paths[1].write_text(json.dumps(content | {"scoring": {"mode": "double", "precision": "32-true"}}))
    with pytest.raises(InputError, match=r"1.json: scored with other rules \(.*mode double.*\)"):
        compare(paths[:1], paths[1:])
    paths[1].write_text(json.dumps(content | {"scoring": {"precision": "bf16-mixed"}}))
    with pytest.raises(InputError, match=r"1.json: scored with other rules \(.*precision bf16-mixed\)"):
        compare(paths[:1], paths[1:])
    paths[1].write_text(json.dumps(content | {"scoring": {"mode": "origin"}}))
    with pytest.raises(InputError, match=r"1.json: the scoring precision is missing"):
        compare(paths[:1], paths[1:])
