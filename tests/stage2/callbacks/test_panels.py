"""Panels of fixed samples, read back from the loggers."""

import numpy as np
import yaml
from PIL import Image

from boxpromptiml.cli import main


def with_wandb(tiny_config, tmp_path):
    config = yaml.safe_load(tiny_config.read_text())
    config["trainer"]["logger"].append(
        {
            "class_path": "lightning.pytorch.loggers.WandbLogger",
            "init_args": {"save_dir": str(tmp_path), "project": "boxpromptiml"},
        }
    )
    tiny_config.write_text(yaml.safe_dump(config))
    return tiny_config


def test_wandb_records_offline_without_an_account_or_a_prompt(tiny_config, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no credentials there
    assert main(["fit", "--config", str(with_wandb(tiny_config, tmp_path))]) == 0
    recorded = next(tmp_path.glob("wandb/offline-run-*/run-*.wandb")).read_bytes()
    for key in (b"train/loss", b"val/f1_pseudo_mask", b"panels", b"seed_everything", b"mobilenetv3_small_050"):
        assert key in recorded
    panel = Image.open(next(tmp_path.glob("wandb/offline-run-*/files/media/images/panels_*.png")))
    assert panel.size == (5 * 64, 64)  # photo and boxes, pseudo-mask, prediction, gate prior, memory prior


def test_panels_show_the_same_samples_every_epoch(tiny_config, tmp_path):
    main(["fit", "--config", str(tiny_config)])
    first, second = (np.asarray(Image.open(tmp_path / f"panels/epoch-00{i}.png")).astype(int) for i in range(2))
    assert first.shape == second.shape
    fifth = first.shape[1] // 5
    assert np.abs(first[:, :fifth] - second[:, :fifth]).max() == 0  # the photo does not change
    assert np.abs(first - second).max() > 0  # the prediction does
    drawn = (tmp_path / "panels/epoch-000.png").read_bytes()
    checkpoint = tmp_path / "checkpoints/last.ckpt"
    assert main(["validate", "--config", str(tiny_config), "--ckpt_path", str(checkpoint)]) == 0
    assert (tmp_path / "panels/epoch-000.png").read_bytes() == drawn  # `validate` replaces no picture of the training
