"""Training learns, resumes, and gives the same result on two processes."""

import csv
import json
import signal
import subprocess
import time

import pytest
import torch
import yaml
from PIL import Image

from boxpromptiml.cli import main
from boxpromptiml.runtime.processes import command_words
from stage2_distill.data.datamodule import PseudoMaskData
from stage2_distill.model.student import Student, read_checkpoint
from stage2_distill.trainer_cli import run

EMA = "lightning.pytorch.callbacks.EMAWeightAveraging"
AVERAGING = ["--trainer.callbacks+", EMA, "--trainer.callbacks.decay", "0.5"]


def cli(*words, code=0):
    command = command_words(map(str, words))
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert answer.returncode == code, answer.stderr[-3000:]
    return answer.stdout


def columns(folder):
    """Last value of each column written by Lightning's CSVLogger, over all versions in order."""
    last = {}
    for path in sorted(folder.glob("version_*/metrics.csv")):
        for row in csv.DictReader(path.open()):
            last |= {name: float(value) for name, value in row.items() if value}
    return last


def test_fit_then_test_then_predict(tiny_config, tmp_path, test_manifest):
    cli("fit", "--config", tiny_config, "--trainer.max_epochs", 25)
    metrics = columns(tmp_path / "fit")
    assert metrics["val/f1_pseudo_mask"] > 0.5  # trained from scratch on squares
    assert metrics["val/f1_truth"] > 0.5
    record = json.loads((tmp_path / "fit/fit.json").read_text())
    assert record["images_train"] == 23
    assert record["seconds_fit"] > 0
    assert Image.open(tmp_path / "panels/epoch-024.png").width > 300

    printed = cli("test", "--config", tiny_config, "--ckpt_path", tmp_path / "checkpoints/best.ckpt", code=3)
    assert "skipped: 1 photos without a score" in printed
    scores = json.loads((tmp_path / "test/scores.json").read_text())
    row = scores["sets"]["squares"]
    assert row["images"] == 4
    assert row["f1"] > row["f1_all_positive"]
    assert row["images_authentic"] == 1
    assert {item["image_id"] for item in scores["per_image"]} == set(range(100, 106))

    checkpoint = tmp_path / "checkpoints/best.ckpt"
    assert (
        main(
            [
                "predict",
                "--checkpoint",
                str(checkpoint),
                "--images",
                str(test_manifest.parent),
                "--out",
                str(tmp_path / "p"),
            ]
        )
        == 3
    )


def test_averaged_weights_are_selected_saved_and_tested(tiny_config, tmp_path):
    run(["fit", "--config", str(tiny_config), *AVERAGING])
    best, last = tmp_path / "checkpoints/best.ckpt", tmp_path / "checkpoints/last.ckpt"
    checkpoint = read_checkpoint(last)
    averaged, current = checkpoint["state_dict"], checkpoint["current_model_state"]
    assert not torch.equal(averaged["student.fusion.base.weight"], current["student.fusion.base.weight"])
    for name, weight in Student.from_checkpoint(last).state_dict().items():
        assert torch.equal(weight, averaged[f"student.{name}"])

    selected = read_checkpoint(best)
    (monitored,) = (s["best_model_score"].item() for n, s in selected["callbacks"].items() if "Checkpoint" in n)
    run(["validate", "--config", str(tiny_config), "--ckpt_path", str(best)])
    agreement = json.loads((tmp_path / "validate/agreement.json").read_text())
    assert agreement["all"]["f1_pseudo_mask"] == pytest.approx(monitored, abs=1e-6)

    def tested(path, *words):
        run(["test", "--config", str(tiny_config), *words, "--ckpt_path", str(path), "--overwrite", "true"])
        return json.loads((tmp_path / "test/scores.json").read_text())["per_image"]

    torch.save(selected | {"current_model_state": {}, "averaging_state": {}}, tmp_path / "average_alone.ckpt")
    assert tested(best, *AVERAGING) == tested(tmp_path / "average_alone.ckpt")


def test_late_self_correction_changes_nothing_before_it_starts(tiny_config, tmp_path):
    losses = []
    for share in (0.0, 0.9):
        words = ["--model.correction", json.dumps({"start": 0.5, "share": share})]
        run(["fit", "--config", str(tiny_config), *words, "--overwrite", "true"])
        last = max(tmp_path.glob("fit/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime_ns)
        losses.append([row["train/loss"] for row in csv.DictReader(last.open()) if row["train/loss"]])
    plain, corrected = losses
    assert len(plain) == 6
    assert [a == b for a, b in zip(plain, corrected, strict=True)] == [True] * 4 + [False] * 2


@pytest.fixture
def mixed_config(tiny_config, made_squares):
    """The tiny configuration with 24 draws per epoch, a quarter of them from a stream."""
    config = yaml.safe_load(tiny_config.read_text())
    stream = {"class_path": "made.MadeSquares", "init_args": {"length": 8, "log": str(tiny_config.parent / "drawn")}}
    config["data"] |= {"streams": [stream], "source_weights": {"made": 0.25}, "epoch_size": 24}
    path = tiny_config.with_name("mixed.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize(
    ("workers", "config", "words"), [(0, "tiny_config", AVERAGING), (2, "mixed_config", ())], ids=["averaged", "mixed"]
)
def test_a_killed_run_resumes_to_the_same_weights(request, tmp_path, workers, config, words):
    path = request.getfixturevalue(config)
    fit = ("fit", "--config", path, "--trainer.max_epochs", 4, "--data.workers", workers, *words)
    cli(*fit)
    last = tmp_path / "checkpoints/last.ckpt"
    straight = read_checkpoint(last)
    last.unlink()
    again = command_words([*map(str, fit), "--overwrite", "true"])
    process = subprocess.Popen(again, stderr=subprocess.DEVNULL)
    while not last.exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)  # the file appears before its content
    process.kill()
    process.wait()
    assert read_checkpoint(last)["epoch"] < straight["epoch"]
    cli(*fit, "--ckpt_path", "last")
    resumed = read_checkpoint(last)
    assert resumed["epoch"] == straight["epoch"]
    for state in ("state_dict", "current_model_state") if words else ("state_dict",):
        different = [n for n, w in straight[state].items() if not torch.equal(w, resumed[state][n])]
        assert different == []


@pytest.mark.parametrize("memory_update", ["gradient", "ema"])
def test_two_processes_train_on_all_samples_and_agree(tiny_config, tmp_path, memory_update):
    options = ["--model.student.init_args.memory_update", memory_update, "--trainer.max_epochs", 1]
    cli(
        "fit",
        "--config",
        tiny_config,
        *options,
        "--trainer.devices",
        2,
        "--trainer.strategy",
        "ddp",
        "--data.batch_size",
        3,
    )
    checkpoint = read_checkpoint(tmp_path / "checkpoints/last.ckpt")
    assert checkpoint["global_step"] == 4  # 23 samples padded to 24, over two processes, three at a time
    words = ("test", "--config", tiny_config, "--ckpt_path", tmp_path / "checkpoints/last.ckpt")
    cli(*words, "--trainer.devices", 2, code=3)
    two = json.loads((tmp_path / "test/scores.json").read_text())
    cli(*words, "--trainer.devices", 1, code=3)
    one = json.loads((tmp_path / "test/scores.json").read_text())
    assert [row["image_id"] for row in two["per_image"]] == [row["image_id"] for row in one["per_image"]]
    assert two["sets"]["squares"]["f1"] == pytest.approx(one["sets"]["squares"]["f1"], abs=1e-5)


def test_two_processes_draw_the_same_mixture_as_one(mixed_config, tmp_path, cache, made_squares, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # as in the configuration
    halved = ["--data.batch_size", 3, "--trainer.devices", 2, "--trainer.strategy", "ddp", "--trainer.max_epochs", 1]
    printed = cli("fit", "--config", mixed_config, *halved, "--trainer.limit_val_batches", 0)
    assert printed.count("share of the 24 draws") == 1
    together = sorted((tmp_path / "drawn").read_text().splitlines())
    (tmp_path / "drawn").unlink()
    stream = made_squares(8, str(tmp_path / "drawn"))
    alone = PseudoMaskData([str(cache)], [stream], {"made": 0.25}, 24, image_size=64, batch_size=6, workers=0)
    alone.setup("fit")
    assert len(list(alone.train_dataloader())) == 4
    assert sorted((tmp_path / "drawn").read_text().splitlines()) == together
    assert len(together) == 6  # each with its own seed


def test_a_checkpoint_contains_only_the_student(tiny_config, tmp_path):
    cli("fit", "--config", tiny_config, "--trainer.max_epochs", 1, "--model.student.init_args.alpha", 0.7)
    student = Student.from_checkpoint(tmp_path / "checkpoints/best.ckpt")
    assert student.arguments["alpha"] == 0.7
    assert student.image_size == 64
    assert not student.training


def test_ctrl_c_leaves_an_unfinished_run_and_prints_how_to_resume(tiny_config, tmp_path):
    words = ["fit", "--config", tiny_config, "--trainer.max_epochs", 500]
    process = subprocess.Popen(command_words(map(str, words)), stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "checkpoints/last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 130
    assert message.strip().splitlines()[-1].endswith("add --ckpt_path last to continue from the last checkpoint")
    assert not (tmp_path / "fit/fit.json").exists()
