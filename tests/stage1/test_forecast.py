"""The forecast of a dry run, against hand-counted images and the actual run."""

import re
import shutil
from types import SimpleNamespace

import pytest

from stage1_pseudomask import generate
from stage1_pseudomask.teachers.grabcut import GrabCut


@pytest.fixture
def run(manifest, tmp_path):
    def run(**arguments):
        settings = {"size": 32, "shard_size": 5, "batch_size": 2, "workers": 0, "accelerator": "cpu", "devices": 1}
        return generate.pseudomasks(manifest, tmp_path / "cache", GrabCut(threads=1), **(settings | arguments))

    return run


def test_a_dry_run_of_a_new_cache_times_a_sample_and_writes_nothing(run, tmp_path, capsys):
    assert run(dry_run=True) == 0
    output = capsys.readouterr().out
    assert "22 of 22 images left to do, with 21 boxes" in output  # two authentic, one with two boxes
    assert re.search(r"minutes with 1 process at [\d.]+ images/s each \(timed on 8 images\)", output)
    assert not (tmp_path / "cache").exists()
    run()
    real = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.h5")) / 22
    stated = float(re.search(r"([\d,]+) bytes per image", output)[1].replace(",", ""))
    assert real / 3 < stated < real * 3  # at 32 pixels most of a shard is overhead


def test_a_dry_run_of_a_started_cache_extrapolates_and_divides_the_work(run, tmp_path, capsys):
    run()
    (tmp_path / "cache/index.json").unlink()
    (tmp_path / "cache/shard-000-00000.h5").unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    capsys.readouterr()
    assert run(dry_run=True, devices=2) == 0
    output = capsys.readouterr().out
    assert "5 of 22 images left to do, with 6 boxes" in output
    assert "minutes with 2 processes" in output
    assert "as in the 15 images that are done" in output  # two others were unreadable
    assert before == {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}


def test_a_disk_that_is_too_small_is_reported_beforehand(run, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    run(dry_run=True)
    assert "NOT ENOUGH" in capsys.readouterr().out


def test_a_finished_cache_has_nothing_left_to_do(run, capsys):
    run()
    assert run(dry_run=True) == 3  # as without --dry_run: complete, two images skipped
    assert "nothing to do" in capsys.readouterr().out
