"""Runs with the same settings resume; results of other settings are refused or, on request, replaced."""

import subprocess
import sys

import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.locks import LockedError
from boxpromptiml.runtime.run_folder import refuse_another_training, run_folder

HOLDS = """
import sys, time
from pathlib import Path
from boxpromptiml.runtime.run_folder import run_folder
with run_folder(Path(sys.argv[1]), "settings.json", {}, ["scores.*"]):
    print("there", flush=True)
    time.sleep(60)
"""


def run(folder, settings, overwrite=False):
    with run_folder(folder, "settings.json", settings, ["scores.*"], overwrite):
        (folder / "scores.json").write_text("{}")


def test_the_same_settings_resume_and_different_ones_are_named(tmp_path):
    folder = tmp_path / "new/out"
    run(folder, {"threshold": 0.5, "rules": {"mode": "origin"}})
    run(folder, {"rules": {"mode": "origin"}, "threshold": 0.5})
    for other, words in (
        ({"threshold": 0.4, "rules": {"mode": "origin"}}, r"threshold 0\.5, now 0\.4"),
        ({"threshold": 0.5, "rules": {"mode": "double"}}, r"rules\.mode origin, now double"),
        ({"threshold": 0.5}, r"rules .*, now null"),
    ):
        with pytest.raises(InputError, match=words + r"\); choose another folder, .*--overwrite"):
            run(folder, other)
    assert (folder / "scores.json").exists()


def test_replaced_files_are_listed_and_nothing_else_is_touched(tmp_path, capsys):
    run(tmp_path, {"a": 1})
    (tmp_path / "scores.md").touch()
    (tmp_path / "notes.txt").touch()
    run(tmp_path, {"a": 2}, overwrite=True)
    replaced = {f"replaced: {tmp_path / name}" for name in ("scores.json", "scores.md")}
    assert set(capsys.readouterr().out.splitlines()) == replaced
    assert {path.name for path in tmp_path.iterdir()} == {"scores.json", "notes.txt", "settings.json"}


@pytest.mark.parametrize("record", [None, "", "[]", "{"])
def test_results_without_a_record_are_of_unknown_settings(tmp_path, record):
    (tmp_path / "scores.json").touch()
    if record is not None:
        (tmp_path / "settings.json").write_text(record)
    with pytest.raises(InputError, match=r"unknown settings.*settings\.json"):
        run(tmp_path, {"a": 1})


def test_settings_without_results_are_ignored(tmp_path):
    (tmp_path / "settings.json").write_text('{"a": 1}')  # as if stopped before the first result
    run(tmp_path, {"a": 2})


def test_two_runs_never_write_to_one_folder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "there\n"
        with pytest.raises(LockedError, match=rf"in use by process {process.pid} on "):
            run(tmp_path, {}, overwrite=True)
    finally:
        process.kill()
        process.communicate()
    run(tmp_path, {})


def test_a_new_training_replaces_the_curves_of_the_old_one_too(tmp_path):
    old = [tmp_path / name for name in ("fit.json", "version_0/metrics.csv", "version_0/config.yaml", "last.ckpt")]
    other = tmp_path / "version_0/notes.txt"
    other.parent.mkdir()
    for path in (*old, other):
        path.touch()
    with pytest.raises(InputError, match="contains a run"):
        refuse_another_training(tmp_path, [tmp_path], overwrite=False)
    assert all(path.exists() for path in old)
    refuse_another_training(tmp_path, [tmp_path], overwrite=True)
    assert not any(path.exists() for path in old)
    assert other.exists()
