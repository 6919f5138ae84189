"""Checkpoints that `fit` resumes and `validate` and `test` score: given explicitly, present, and compatible."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch

from boxpromptiml.cli import main
from boxpromptiml.runtime.processes import command_words

STUDENT = "--model.student.init_args"
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")


@pytest.fixture
def run(fitted_config, capsys):
    """Function that runs a command in the folder of the fitted student and returns its exit code and messages."""

    def run(command, *words):
        code = main([command, "--config", str(fitted_config), *map(str, words)])
        output = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"boxpromptiml {command}: ")]
        return code, "\n".join(output)

    return run


@pytest.fixture
def best(fitted_config):
    return fitted_config.parent / "checkpoints/best.ckpt"


def test_a_checkpoint_contains_no_module_path_and_survives_renames(best):
    with zipfile.ZipFile(best) as content:
        (pickled,) = (content.read(name) for name in content.namelist() if name.endswith("data.pkl"))
    assert not [package for package in (b"stage2_distill", b"boxpromptiml") if package in pickled]


@pytest.mark.parametrize("command", ["validate", "test"])
def test_random_weights_are_not_scored(run, command, fitted_config):
    def there():
        return {path: path.stat().st_mtime_ns for path in (fitted_config.parent / command).rglob("*")}

    before = there()  # files of other tests
    code, output = run(command)
    assert code == 2
    assert "no checkpoint is given" in output
    assert "--ckpt_path" in output
    assert there() == before


@pytest.mark.parametrize(
    ("command", "words", "output"),
    [
        (
            "fit",
            ["--trainer.max_epochs", 1, "--ckpt_path", "last"],
            "trained for 2 epochs, but trainer.max_epochs is 1",
        ),
        ("fit", ["--trainer.max_epochs", 0], "trainer.max_epochs is 0; use a whole number from 1"),
        ("fit", ["--ckpt_path", "last", f"{STUDENT}.channels", 32], "its student has channels 16, not 32; set"),
        ("fit", ["--ckpt_path", "absent.ckpt"], "absent.ckpt: no such checkpoint"),
        ("fit", [], "contains a run .* --ckpt_path last, .* --overwrite"),
        pytest.param(
            "fit",
            ["--trainer.accelerator", "gpu"],
            "accelerator gpu, .* not available on this machine .* cpu",
            marks=NO_GPU,
        ),
        ("fit", ["--trainer.accelerator", "banana"], "accelerator banana, .* cpu or auto"),
        ("fit", ["--trainer.devices", 0], "devices 0"),
        ("fit", ["--trainer.max_epochs", -7], "max_epochs.* correct the config or the options"),
        ("fit", ["--trainer.strategy", "banana"], "banana.* correct the config or the options"),
        ("fit", ["--data.batch_size", 0], "batch_size is 0; use a whole number from 1"),
        ("fit", ["--data.workers", -1], "workers is -1"),
        ("fit", ["--model.scoring.threshold", 50], "scoring.threshold is 50; .* 0.5 for 50 %"),
        ("test", ["--ckpt_path", "config.yaml"], "config.yaml: not a readable checkpoint"),
        ("test", ["--ckpt_path", "best.ckpt", f"{STUDENT}.prototypes", 8], "its student has prototypes 4, not 8"),
    ],
)
def test_a_user_error_is_one_line(run, fitted_config, best, command, words, output, monkeypatch):
    shutil.copy(best, fitted_config.parent / "best.ckpt")
    monkeypatch.chdir(fitted_config.parent)
    before = best.read_bytes()
    code, line = run(command, *words)
    assert code == 2
    assert line.count("\n") == 0
    assert re.search(output, line), line
    assert best.read_bytes() == before


def test_a_run_is_replaced_only_on_request(run, fitted_config, capsys, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(fitted_config.parent, folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(fitted_config.parent), str(folder)))
    words = ["fit", "--config", str(config), "--trainer.max_epochs", "1", "--seed_everything", "3"]
    assert main(words) == 2
    capsys.readouterr()
    assert main([*words, "--overwrite", "true"]) == 0
    assert f"replaced: {folder / 'checkpoints/best.ckpt'}" in capsys.readouterr().out
    assert "overwrite: false" in max((folder / "fit").glob("version_*/config.yaml")).read_text()


def test_the_folder_of_an_active_run_is_refused(run, fitted_config, best):
    script = (
        "import sys, time; from pathlib import Path; from boxpromptiml.runtime.locks import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])), exclusive_lock(Path(sys.argv[2])):\n"
        "    print('there', flush=True); time.sleep(60)"
    )
    folders = [str(fitted_config.parent / name) for name in ("fit", "test")]
    process = subprocess.Popen([sys.executable, "-c", script, *folders], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "there\n"
        for command, words in (("fit", ["--ckpt_path", "last"]), ("test", ["--ckpt_path", best])):
            code, output = run(command, *words)
            assert code == 2
            assert f"process {process.pid}" in output
    finally:
        process.kill()
        process.communicate()


def test_scores_by_other_rules_are_not_replaced_unasked(run, fitted_config, best):
    words = ["--ckpt_path", best]
    assert run("test", *words, "--overwrite", "true")[0] == 3  # a photo is empty on disk
    assert run("test", *words)[0] == 3  # the same command again
    code, output = run("test", *words, "--model.scoring.threshold", 0.4)
    assert code == 2
    assert "scoring.threshold 0.5, now 0.4" in output
    scores = fitted_config.parent / "test/scores.json"
    assert json.loads(scores.read_text())["scoring"]["threshold"] == 0.5
    assert run("test", *words, "--model.scoring.threshold", 0.4, "--overwrite", "true")[0] == 3
    assert json.loads(scores.read_text())["scoring"]["threshold"] == 0.4


def test_scoring_is_in_fp32_whatever_the_training_precision(run, fitted_config, best):
    scores = fitted_config.parent / "test/scores.json"
    found = {}
    for name, words in {
        "fp32": [],
        "trained in bf16": ["--trainer.precision", "bf16-mixed"],
        "scored in bf16": ["--model.scoring.precision", "bf16-mixed"],
    }.items():
        assert run("test", "--ckpt_path", best, "--overwrite", "true", *words)[0] == 3
        content = json.loads(scores.read_text())
        found[name] = [case["image_score"] for case in content["per_image"]]
        precision = "bf16-mixed" if name == "scored in bf16" else "32-true"
        assert content["scoring"]["precision"] == precision
    assert found["trained in bf16"] == found["fp32"]
    assert found["scored in bf16"] != found["fp32"]
    code, output = run("test", "--ckpt_path", best, "--overwrite", "true", "--trainer.precision", "bf16-true")
    assert code == 2
    assert "keeps the student in torch.bfloat16" in output


def test_training_does_not_need_the_home_folder(with_wandb, tmp_path):
    config = with_wandb(tmp_path)
    home = tmp_path / "home"
    home.write_text("")  # a file, so that not even root can write below it
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "XDG"))}
    environment = {**kept, "HOME": str(home), "WANDB_MODE": "offline"}
    command = command_words(["fit", "--config", str(config), "--trainer.max_epochs", "1"])
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert home.read_text() == ""
    assert list(tmp_path.glob("wandb/offline-run-*"))
