"""Every training configuration is parsed and run for one step; every overlay changes only what its name says."""

import contextlib
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Union

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from boxpromptiml.cli import main
from boxpromptiml.runtime.processes import command_words
from stage2_distill.model.student import Student, read_checkpoint

CONFIGS = Path(__file__).parents[2] / "configs"
TRAINING = sorted(CONFIGS.glob("*.yaml"))
OVERLAYS = sorted(CONFIGS.glob("ablation/*.yaml"))
SMALL_STUDENT = [
    *("--model.student.init_args.backbone", "mobilenetv3_small_050", "--model.student.init_args.channels", 16),
    *("--model.student.init_args.pretrained", "false"),
]
SWITCHES = {
    "baseline": (False, False),
    "without_memory": (True, False),
    "without_gating": (False, True),
    "complete": (True, True),
}


def resolved(*words):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main([*map(str, words), "--print_config"])
    return yaml.safe_load(printed.getvalue())


@pytest.mark.parametrize("config", TRAINING, ids=lambda path: path.stem)
def test_one_step_of_every_training_config(config, cache, test_manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    on_small_data = [
        *("--trainer.default_root_dir", tmp_path, "--trainer.accelerator", "cpu", "--trainer.devices", 1),
        *("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1, "--trainer.limit_val_batches", 1),
        *("--model.student.init_args.pretrained", "false", "--trainer.enable_progress_bar", "false"),
        *("--data.caches", f"[{cache}]", "--data.batch_size", 2, "--data.workers", 0),
        *("--data.test_sets", json.dumps({"squares": str(test_manifest)}), "--trainer.precision", "32-true"),
    ]
    if config.stem.startswith("released"):  # need downloaded sources and the previous stage
        on_small_data += ["--model.student.init_args.weights", "null"]
        on_small_data += ["--data.streams", "null", "--data.source_weights", "null", "--data.val_sets", "null"]
    words = command_words(["fit", "--config", config, *on_small_data])
    trained = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=250)
    assert trained.returncode == 0, trained.stderr
    record = json.loads((tmp_path / "fit/fit.json").read_text())
    assert Path(record["checkpoint"]).is_relative_to(tmp_path)
    stated = yaml.safe_load((tmp_path / "fit/version_0/config.yaml").read_text())["data"]["image_size"]
    assert Student.from_checkpoint(Path(record["checkpoint"])).image_size == stated
    sheet = next((tmp_path / "fit/panels").glob("*.png"))
    assert sheet.stat().st_size > 10_000


def test_an_interrupted_run_resumes_from_its_last_epoch_even_if_not_the_best(
    cache, test_manifest, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    words = ["fit", "--config", CONFIGS / "demo.yaml", "--trainer.default_root_dir", tmp_path, *SMALL_STUDENT]
    words += ["--data.caches", f"[{cache}]", "--data.image_size", 64, "--data.workers", 0, "--model.lr", 0]
    assert main([*map(str, words), "--trainer.max_epochs", "3"]) == 0  # with a learning rate of zero no epoch is better
    checkpoints = tmp_path / "fit/checkpoints"
    epochs = {name: read_checkpoint(checkpoints / f"{name}.ckpt")["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 0, "last": 2}
    assert {path.name for path in checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert main([*map(str, words), "--trainer.max_epochs", "4", "--ckpt_path", "last"]) == 0
    assert read_checkpoint(checkpoints / "last.ckpt")["epoch"] == 3


def test_a_cpu_without_bf16_trains_in_fp32_and_says_so(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    monkeypatch.delenv("WANDB_CACHE_DIR", raising=False)
    words = ["fit", "--config", CONFIGS / "demo.yaml", "--trainer.default_root_dir", tmp_path]
    words += ["--trainer.max_epochs", 1, "--trainer.precision", "bf16-mixed", "--trainer.accelerator", "cpu"]
    words += ["--trainer.limit_train_batches", 1]
    words += SMALL_STUDENT
    words += ["--data.caches", f"[{cache}]", "--data.image_size", 64, "--data.workers", 0]
    assert main(list(map(str, words))) == 0
    assert "precision: 32-true" in capsys.readouterr().out
    assert "WANDB_CACHE_DIR" not in os.environ  # or the files of a next run would be in the folder of this one
    written = yaml.safe_load((tmp_path / "fit/version_0/config.yaml").read_text())
    assert written["trainer"]["precision"] == "32-true"


def leaves(settings, prefix=()):
    for key, value in settings.items():
        if isinstance(value, dict) and key != "test_sets":
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def test_the_base_config_sets_every_argument():
    written = yaml.safe_load((CONFIGS / "base/training.yaml").read_text())
    complete = resolved("fit", "--config", CONFIGS / "base/training.yaml", "--data.caches", "[a]")
    assert written["model"] == complete["model"]
    assert written["data"] | {"caches": ["a"]} == complete["data"]  # differs per experiment


@pytest.mark.parametrize("config", TRAINING, ids=lambda path: path.stem)
def test_a_training_config_contains_only_differences_from_its_base(config):
    written = yaml.safe_load(config.read_text())
    base = CONFIGS.parent / written.pop("base")
    shared = dict(leaves(resolved("fit", "--config", base, "--data.caches", "[a]")))
    assert not [".".join(key) for key, value in leaves(written) if shared.get(key) == value is not None]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
@pytest.mark.parametrize("config", ["demo", "full"])
def test_an_overlay_changes_only_what_its_name_says(config, overlay):
    plain = resolved("fit", "--config", CONFIGS / f"{config}.yaml")
    varied = resolved("fit", "--config", CONFIGS / f"{config}.yaml", "--config", overlay)
    plain["model"]["student"]["init_args"] |= dict(zip(("gating", "memory"), SWITCHES[overlay.stem], strict=True))
    assert varied == plain


def test_every_ablation_variant_has_an_overlay():
    assert {overlay.stem for overlay in OVERLAYS} == set(SWITCHES)


def test_the_full_config_is_the_papers_protocol():
    config = resolved("fit", "--config", CONFIGS / "full.yaml")
    student = config["model"]["student"]["init_args"]
    assert (student["backbone"], student["pretrained"]) == ("tiny_vit_5m_224", True)
    assert config["data"]["image_size"] == 224
    assert (config["trainer"]["max_epochs"], config["trainer"]["precision"]) == (20, "bf16-mixed")
    assert config["model"]["loss"]["init_args"] == {
        "bce": 1.0,
        **dict.fromkeys(("dice", "focal", "outside", "tightness"), 0.0),
        **{"focal_gamma": 2.0, "tightness_margin": 0.15},  # of terms with weight 0
    }
    assert student["forensic"] == config["model"]["correction"]["share"] == config["data"]["confidence_power"] == 0
    assert not config["data"]["authentic"]
    assert not [entry for entry in config["trainer"]["callbacks"] if "Averaging" in entry["class_path"]]


def test_the_best_recipe_is_the_papers_student_and_data_under_another_loss():
    full, best = (resolved("fit", "--config", CONFIGS / f"{name}.yaml") for name in ("full", "best"))
    assert best["model"]["loss"] != full["model"]["loss"]
    assert best["model"]["student"] == full["model"]["student"]  # so parameters and MACs are unchanged
    for of in (full, best):
        of["trainer"]["default_root_dir"] = ""
        for name in ("loss", "correction"):
            del of["model"][name]
        for name in ("authentic", "confidence_power"):
            del of["data"][name]
    assert best["model"] == full["model"]
    assert best["data"] == full["data"]


def test_one_option_moves_all_outputs():
    config = resolved("fit", "--config", CONFIGS / "demo.yaml", "--trainer.default_root_dir", "/elsewhere")
    trainer = config["trainer"]
    arguments = [entry.get("init_args", {}) for entry in (*trainer["logger"], *trainer["callbacks"])]
    folders = [a[key] for a in arguments for key in ("save_dir", "dirpath", "folder") if a.get(key)]
    assert len(folders) == 9
    assert all(folder.startswith("/elsewhere") for folder in folders)


@pytest.mark.parametrize("config", TRAINING, ids=lambda path: path.stem)
def test_the_environment_names_the_run(config, monkeypatch):
    names = {"WANDB_RUN_GROUP": "study", "WANDB_NAME": "variant-0", "WANDB_JOB_TYPE": "ablation"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    logger = resolved("fit", "--config", config)["trainer"]["logger"][1]["init_args"]
    assert [logger[key] for key in ("group", "name", "job_type")] == list(names.values())


def test_predict_is_not_a_lightning_subcommand(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "--model", "x"])
    assert stopped.value.code == 2
    assert "boxpromptiml predict" in capsys.readouterr().err


def trained(batches: Union[float, int, None] = None) -> object:  # noqa: UP007 (`|` cannot have the cached order)
    """Stand in for Lightning's Trainer, in a process in which typing has cached the other order."""
    return batches


@pytest.mark.parametrize(("word", "value"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("null", None)])
def test_a_whole_number_of_batches_is_a_count_in_any_process(word, value):
    from stage2_distill.trainer_cli import read_whole_numbers_as_counts

    read_whole_numbers_as_counts(trained)
    parser = ArgumentParser()
    parser.add_function_arguments(trained)
    found = parser.parse_args(["--batches", word]).batches
    assert (type(found), found) == (type(value), value)
