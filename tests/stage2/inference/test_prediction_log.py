"""A log of predictions that survives any interruption of a run."""

import json

import pytest

from boxpromptiml.core.records import InputError
from stage2_distill.inference.prediction_log import PredictionLog, merge, open_log, read


def begin(folder, settings, overwrite=False):
    """Open an output folder and leave it at once, as a killed run does."""
    with open_log(folder, settings, overwrite):
        pass


def test_parts_of_several_processes_become_one_sorted_file(tmp_path):
    begin(tmp_path, {"threshold": 0.5})
    for rank, files in enumerate((["c", "a"], ["d", "b"])):
        log = PredictionLog(tmp_path, rank)
        for file in files:
            log.add({"file": file, "rank": rank})
        log.close()
    assert [entry["file"] for entry in merge(tmp_path)] == ["a", "b", "c", "d"]
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.jsonl", "predictions.settings.json"}
    assert [json.loads(line)["rank"] for line in (tmp_path / "predictions.jsonl").open()] == [0, 1, 0, 1]


def test_an_interrupted_run_keeps_its_complete_lines(tmp_path):
    begin(tmp_path, {})
    log = PredictionLog(tmp_path, 0)
    log.add({"file": "a"})
    log.add({"file": "b"})
    log.close()
    part = tmp_path / ".predictions-000.jsonl"
    part.write_bytes(part.read_bytes() + '{"file": "ü'.encode()[:-1])
    begin(tmp_path, {})
    assert set(read(tmp_path)) == {"a", "b"}


def test_other_settings_are_refused_or_start_over(tmp_path):
    begin(tmp_path, {"threshold": 0.5})
    log = PredictionLog(tmp_path, 0)
    log.add({"file": "a"})
    log.close()
    with pytest.raises(InputError, match=r"threshold 0\.5, now 0\.4\); .*--overwrite"):
        begin(tmp_path, {"threshold": 0.4})
    begin(tmp_path, {"threshold": 0.5})
    assert set(read(tmp_path)) == {"a"}
    begin(tmp_path, {"threshold": 0.4}, overwrite=True)
    assert read(tmp_path) == {}


def test_a_photo_localized_again_has_its_new_line(tmp_path):
    begin(tmp_path, {})
    for score in (0.1, 0.9):
        log = PredictionLog(tmp_path, 0)
        log.add({"file": "a", "score": score})
        log.close()
        merge(tmp_path)
    assert read(tmp_path)["a"]["score"] == 0.9
