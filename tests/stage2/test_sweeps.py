"""Every sweep in configs/ is valid for its command, and a sampled setting trains."""

import contextlib
import io
import json
import random
from pathlib import Path

import pytest
import yaml

from boxpromptiml.cli import main

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "configs/sweeps").glob("*.yaml"))


def drawn(space, seed):
    """One value of a parameter as W&B would sample it; seeds 0 and 1 give the bounds."""
    if "values" in space:
        return space["values"][{0: 0, 1: -1}.get(seed, seed % len(space["values"]))]
    low, high = space["min"], space["max"]
    at = seed if seed < 2 else random.Random(seed).random()
    if space["distribution"] == "log_uniform_values":
        return low * (high / low) ** at
    return {"uniform": float, "int_uniform": round}[space["distribution"]](low + at * (high - low))


def words(sweep, seed):
    """Arguments of a setting as assembled by `wandb agent`, without the program."""
    setting = {name: drawn(space, seed) for name, space in sweep["parameters"].items()}
    parts = {
        "${env}": [],
        "${program}": [],
        "${args}": [f"--{name}={value}" for name, value in setting.items()],
    }
    return setting, [word for part in sweep["command"] for word in parts.get(part, [part])]


def at(config, dotted):
    for key in dotted.split("."):
        config = config[key]
    return config


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_parameter_reaches_the_config(path, seed, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    sweep = yaml.safe_load(path.read_text())
    assert sweep["program"] == "boxpromptiml"
    setting, command = words(sweep, seed)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main([*command, "--print_config"])
    config = yaml.safe_load(printed.getvalue())
    assert {name: at(config, name) for name in setting} == setting
    assert config["trainer"]["default_root_dir"] == "runs/sweeps/abc123"  # one folder per setting
    monitored = [c["init_args"].get("monitor") for c in config["trainer"]["callbacks"] if "init_args" in c]
    assert sweep["metric"]["name"] in monitored
    assert sweep["project"] == config["trainer"]["logger"][1]["init_args"]["project"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sampled_setting_trains(path, cache, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    sweep = yaml.safe_load(path.read_text())
    _, command = words(sweep, 7)
    small = [
        *("--trainer.default_root_dir", tmp_path, "--trainer.accelerator", "cpu", "--trainer.devices", 1),
        *("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1, "--trainer.limit_val_batches", 1),
        *("--trainer.precision", "32-true", "--trainer.enable_progress_bar", "false"),
        *(
            "--model.student.init_args.backbone",
            "mobilenetv3_small_050",
            "--model.student.init_args.pretrained",
            "false",
        ),
        *("--data.caches", f"[{cache}]", "--data.image_size", 64, "--data.batch_size", 2, "--data.workers", 0),
    ]
    assert main([*command, *map(str, small)]) == 0
    record = json.loads((tmp_path / "fit/fit.json").read_text())
    assert record["monitor"] == sweep["metric"]["name"]


def test_there_are_sweeps():
    assert SWEEPS
