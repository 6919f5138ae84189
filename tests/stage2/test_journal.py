"""Lines that survive whatever stops a run."""

import json

from stage2_distill.journal import Journal, merge, read, take_up


def test_parts_of_several_processes_become_one_sorted_file(tmp_path):
    take_up(tmp_path, {"threshold": 0.5})
    for rank, files in enumerate((["c", "a"], ["d", "b"])):
        journal = Journal(tmp_path, rank)
        for file in files:
            journal.add({"file": file, "rank": rank})
        journal.close()
    assert [entry["file"] for entry in merge(tmp_path)] == ["a", "b", "c", "d"]
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.jsonl", "predictions.settings.json"}
    assert [json.loads(line)["rank"] for line in (tmp_path / "predictions.jsonl").open()] == [0, 1, 0, 1]


def test_a_stopped_run_keeps_its_whole_lines(tmp_path):
    take_up(tmp_path, {})
    journal = Journal(tmp_path, 0)
    journal.add({"file": "a"})
    journal.add({"file": "b"})
    journal.close()
    part = tmp_path / ".predictions-000.jsonl"
    part.write_bytes(part.read_bytes() + '{"file": "ü'.encode()[:-1])
    take_up(tmp_path, {})
    assert set(read(tmp_path)) == {"a", "b"}


def test_other_settings_start_anew(tmp_path):
    take_up(tmp_path, {"threshold": 0.5})
    journal = Journal(tmp_path, 0)
    journal.add({"file": "a"})
    journal.close()
    take_up(tmp_path, {"threshold": 0.4})
    assert read(tmp_path) == {}


def test_a_photo_that_was_seen_again_has_its_new_line(tmp_path):
    take_up(tmp_path, {})
    for score in (0.1, 0.9):
        journal = Journal(tmp_path, 0)
        journal.add({"file": "a", "score": score})
        journal.close()
        merge(tmp_path)
    assert read(tmp_path)["a"]["score"] == 0.9
