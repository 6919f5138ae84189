"""What a dry run says, against a manifest counted by hand and the run itself."""

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


def test_before_the_first_image_a_sample_is_timed_and_nothing_is_written(run, tmp_path, capsys):
    assert run(dry_run=True) == 0
    said = capsys.readouterr().out
    assert "22 of 22 images lie ahead, with 21 boxes" in said  # two authentic, one with two boxes
    assert re.search(r"minutes with 1 process at [\d.]+ images/s each \(timed on 8 images\)", said)
    assert not (tmp_path / "cache").exists()
    run()
    real = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.h5")) / 22
    told = float(re.search(r"([\d,]+) bytes an image", said)[1].replace(",", ""))
    assert real / 3 < told < real * 3  # the tables of small shards weigh most at 32 pixels


def test_afterwards_it_judges_by_what_is_done_and_shares_the_work(run, tmp_path, capsys):
    run()
    (tmp_path / "cache/index.json").unlink()
    (tmp_path / "cache/shard-000-00000.h5").unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    capsys.readouterr()
    assert run(dry_run=True, devices=2) == 0
    said = capsys.readouterr().out
    assert "5 of 22 images lie ahead, with 6 boxes" in said
    assert "minutes with 2 processes" in said
    assert "as in the 15 images that are done" in said  # two of the rest could not be read
    assert before == {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}


def test_a_disk_that_is_too_small_is_said_beforehand(run, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    run(dry_run=True)
    assert "NOT ENOUGH" in capsys.readouterr().out


def test_nothing_lies_ahead_of_a_finished_cache(run, capsys):
    run()
    assert run(dry_run=True) == 3  # as without: complete, two images skipped
    assert "nothing to do" in capsys.readouterr().out
