"""Robustness scores: consistent with `boxpromptiml test`, resumable, and the same on two processes."""

import contextlib
import dataclasses
import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from boxpromptiml.cli import main
from boxpromptiml.core.records import InputError
from boxpromptiml.manifests.manifest import read_manifest, write_manifest
from boxpromptiml.runtime.processes import command_words
from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.data.degradations import Levels
from stage2_distill.evaluation.robustness import robustness
from stage2_distill.inference.localizer import Localizer
from stage2_distill.model.student import Student

CONFIGS = Path(__file__).parents[3] / "configs/robustness"
FEW = {"blur": (3, 7), "noise": (20,), "jpeg": (), "resize": (0.5,), "gamma": (), "sharing": ()}
SCORES = ("images", "f1", "iou", "auc", "images_authentic", "false_alarm_area", "f1_ci_low", "f1_ci_high")


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A student with probabilities below and above 0.5."""
    torch.manual_seed(2)
    localizer = Localizer.from_student(Student("mobilenetv3_small_050", False, 64, channels=16, prototypes=4))
    with torch.no_grad():
        localizer.student.fusion.refine[-1].weight.mul_(50)
    folder = tmp_path_factory.mktemp("student") / "saved"
    localizer.save(folder)
    return folder


def run(student, manifest, out, levels=FEW, **options):
    code = robustness(
        {"squares": manifest}, out, str(student), Levels(**levels), workers=0, accelerator="cpu", **options
    )
    return code, json.loads((out / "robustness.json").read_text())


def test_undegraded_photos_score_as_in_test(student, tiny_config, test_manifest, tmp_path, capsys):
    code, result = run(student, test_manifest, tmp_path / "r")
    weights = {f"student.{name}": tensor for name, tensor in Localizer.load(student).student.state_dict().items()}
    words = ["fit", "--config", str(tiny_config), "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    assert main(words) == 0
    checkpoint = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    checkpoint["state_dict"] |= weights
    torch.save(checkpoint, tmp_path / "same.ckpt")
    assert main(["test", "--config", str(tiny_config), "--ckpt_path", str(tmp_path / "same.ckpt")]) == 3
    tested = json.loads((tmp_path / "test/scores.json").read_text())["sets"]["squares"]
    clean = result["sets"]["squares"]["clean"]
    assert 0 < clean["f1"] < 1
    assert {name: clean[name] for name in SCORES} == pytest.approx({name: tested[name] for name in SCORES})
    assert code == 3, "one photo is empty on disk"
    assert "3.png" in result["set_aside"][0]
    assert "F1 kept" in capsys.readouterr().out
    assert (tmp_path / "r/robustness.png").stat().st_size > 10_000


def test_a_level_scores_like_photos_saved_with_that_degradation(student, test_manifest, tmp_path):
    folder = Path(shutil.copytree(test_manifest.parent, tmp_path / "saved"))
    saved = []
    for record in read_manifest(folder / "manifest.json").records:
        if record.path.stat().st_size:
            Image.open(record.path).save(record.path.with_suffix(".jpg"), quality=40)
            saved.append(dataclasses.replace(record, path=record.path.with_suffix(".jpg")))
    write_manifest(folder / "saved.json", saved)
    code, there = run(student, folder / "saved.json", tmp_path / "there")
    _, level = run(student, test_manifest, tmp_path / "level", FEW | {"jpeg": (40,)})
    at_40 = level["sets"]["squares"]["degraded"]["jpeg"]["levels"][0]
    assert code == 0
    assert at_40 == {"level": 40, **there["sets"]["squares"]["clean"]}
    assert at_40["auc"] != level["sets"]["squares"]["clean"]["auc"]


def test_an_interrupted_run_resumes_and_new_levels_are_added(student, test_manifest, tmp_path):
    _, whole = run(student, test_manifest, tmp_path / "whole")
    run(student, test_manifest, tmp_path / "parts", FEW | {"blur": (3,), "noise": ()})
    scored = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts/rows").rglob("*.npy")}
    assert len(scored) == 3
    _, parts = run(student, test_manifest, tmp_path / "parts")
    assert parts["sets"] == whole["sets"]
    assert all(path.stat().st_mtime_ns == time for path, time in scored.items())


def test_a_replaced_photo_is_scored_again(student, test_manifest, tmp_path):
    folder = Path(shutil.copytree(test_manifest.parent, tmp_path / "copy"))
    code, before = run(student, folder / "manifest.json", tmp_path / "r")
    Image.open(folder / "0.png").resize((75, 81)).save(folder / "3.png")  # the file that was empty
    mended, after = run(student, folder / "manifest.json", tmp_path / "r")
    assert (code, mended) == (3, 0)
    assert after["sets"]["squares"]["clean"]["images"] == before["sets"]["squares"]["clean"]["images"] + 1


def test_rows_scored_by_other_rules_are_not_reused(student, test_manifest, tmp_path):
    _, plain = run(student, test_manifest, tmp_path / "r", FEW)
    with pytest.raises(InputError, match=r"scoring\.threshold 0\.5, now 0\.1"):
        run(student, test_manifest, tmp_path / "r", FEW, scoring=Scoring(threshold=0.1))
    _, low = run(student, test_manifest, tmp_path / "r", FEW, scoring=Scoring(threshold=0.1), overwrite=True)
    assert plain["sets"] != low["sets"]
    assert low["scoring"]["threshold"] == 0.1


def test_two_processes_score_the_same_as_one(student, test_manifest, tmp_path):
    words = ["robustness", "--checkpoint", student, "--test_sets", json.dumps({"squares": str(test_manifest)})]
    words += ["--accelerator", "cpu", "--workers", 0, "--devices", 2, "--out", tmp_path / "two", "--batch_size", 2]
    words += [w for name, levels in FEW.items() for w in (f"--levels.{name}", json.dumps(levels))]
    answer = subprocess.run(command_words(map(str, words)), capture_output=True, text=True, timeout=240)
    assert answer.returncode == 3, answer.stderr[-3000:]
    assert answer.stdout.count("F1 kept") == 1
    run(student, test_manifest, tmp_path / "one", batch_size=2)
    one, two = (sorted((tmp_path / name / "rows").rglob("*.npy")) for name in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two]
    assert len(one) == 5
    for left, right in zip(one, two, strict=True):
        # rounding depends on batch size, and one pair of pixels that swap ranks changes an AUC by about 1e-6
        np.testing.assert_allclose(np.load(left), np.load(right), atol=1e-5)


def test_a_run_without_levels_is_refused(student, test_manifest, tmp_path):
    with pytest.raises(InputError, match="nothing to score"):
        run(student, test_manifest, tmp_path, dict.fromkeys(FEW, ()))


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_names_every_option(config):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main(["robustness", "--config", str(config), "--print_config"])
    assert yaml.safe_load(printed.getvalue()) == yaml.safe_load(config.read_text())
