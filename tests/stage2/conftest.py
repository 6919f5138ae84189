"""Session fixtures: a small cache, a small test set and a small experiment."""

import importlib
import os
import sys

import numpy as np
import pytest
import wandb
import yaml

from boxpromptiml import images
from boxpromptiml.core.records import ImageRecord, Sample, Stamp
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.shards import SCHEMA, write_index, write_shard

SIZE = 64


def bright_square(rng, height, width):
    """A dark noisy photo with one bright square, its mask, and its box."""
    photo = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    side = min(height, width) // 3
    x, y = rng.integers(0, width - side), rng.integers(0, height - side)
    mask = np.zeros((height, width), bool)
    mask[y : y + side, x : x + side] = True
    photo[mask] += 120
    return photo, mask, np.array([[x, y, x + side, y + side]], np.float32)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """24 training and 8 validation samples over two shards; the last of each split is authentic."""
    folder = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    samples = []
    for i in range(32):
        photo, mask, box = bright_square(rng, SIZE, SIZE)
        authentic = i in (23, 31)
        if authentic:
            mask[:] = False
        samples.append(
            Sample(
                image_id=i,
                image=photo,
                pseudo_mask=mask.astype(np.uint8) * 255,
                truth=mask.astype(np.uint8) * 255 if i % 2 else None,
                boxes_xyxy=box[:0] if authentic else box,
                teacher_scores=np.full(0 if authentic else 1, 0.2 + 0.025 * i, np.float32),
                source="squares",
                split="train" if i < 24 else "val",
                authentic=authentic,
                kind="" if authentic else "splice",
                width=SIZE,
                height=SIZE,
            )
        )
    stamp = Stamp(SCHEMA, SIZE, "none", "", "0", "0")
    write_shard(folder / "shard-000-00000.h5", samples[:20], [], stamp)
    write_shard(folder / "shard-000-00001.h5", samples[20:], [], stamp)
    write_index(folder, stamp)
    return folder


@pytest.fixture(scope="session")
def test_manifest(tmp_path_factory):
    """Five manipulated photos of different sizes, one of them empty on disk, and an authentic one."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    records = []
    for i in range(6):
        height, width = 60 + 7 * i, 90 - 5 * i
        photo, mask, box = bright_square(rng, height, width)
        images.write_photo(folder / f"{i}.png", photo)
        images.write_mask(folder / f"{i}_mask.png", mask)
        authentic = i == 5
        records.append(
            ImageRecord(
                image_id=i + 100,
                path=folder / f"{i}.png",
                width=width,
                height=height,
                boxes_xyxy=box[:0] if authentic else box,
                split="test",
                source="squares",
                mask_path=None if authentic else folder / f"{i}_mask.png",
                authentic=authentic,
                kind=None if authentic else ("splice", "removal")[i % 2],
            )
        )
    (folder / "3.png").write_bytes(b"")
    write_manifest(folder / "manifest.json", records)
    return folder / "manifest.json"


STREAM = f"""
from pathlib import Path
import numpy as np
from boxpromptiml.core.records import Sample

class MadeSquares:
    'Squares that are made when they are drawn; with a log, every draw leaves a line there.'

    def __init__(self, length: int, log: str = "") -> None:
        self.length, self.log = length, log
        self.authentic = np.arange(length) % 4 == 3
        self.sources = np.full(length, "made")

    def __len__(self) -> int:
        return self.length

    def draw(self, index: int, seed: int) -> Sample:
        if self.log:
            with Path(self.log).open("a") as stream:
                stream.write(f"{{index}} {{seed}}\\n")
        image = np.random.default_rng([seed, index]).integers(0, 60, ({SIZE}, {SIZE}, 3), dtype=np.uint8)
        mask = np.zeros(({SIZE}, {SIZE}), np.uint8)
        boxes = np.array([[8, 8, 24, 24]], np.float32)
        if self.authentic[index]:
            boxes = boxes[:0]
        else:
            mask[8:24, 8:24] = 255
            image[mask > 0] += 120
        ones = np.ones(len(boxes), np.float32)
        return Sample(index, image, mask, mask, boxes, ones, "made", "train", not len(boxes), "splice", {SIZE}, {SIZE})
"""


@pytest.fixture
def made_squares(tmp_path, monkeypatch):
    """A user-defined stream: a class in a separate module, importable here and in commands."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "made.py").write_text(STREAM)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    yield importlib.import_module("made").MadeSquares
    del sys.modules["made"]


@pytest.fixture
def tiny_config(tmp_path, cache, test_manifest):
    """Path of a configuration that trains a tiny student in seconds; outputs go below tmp_path."""
    return write_tiny_config(tmp_path, cache, test_manifest)


def write_tiny_config(tmp_path, cache, test_manifest):
    config = {
        "seed_everything": 0,
        "trainer": {
            "default_root_dir": str(tmp_path),
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": [
                {
                    "class_path": "lightning.pytorch.loggers.CSVLogger",
                    "init_args": {"save_dir": str(tmp_path), "name": "fit"},
                }
            ],
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": {
                        "dirpath": str(tmp_path / "checkpoints"),
                        "filename": "best",
                        "monitor": "val/f1_pseudo_mask",
                        "mode": "max",
                        "save_last": True,
                        "enable_version_counter": False,
                    },
                },
                {
                    "class_path": "stage2_distill.callbacks.panels.PicturePanels",
                    "init_args": {"folder": str(tmp_path / "panels"), "samples": 2},
                },
                {
                    "class_path": "stage2_distill.callbacks.run_record.RunRecord",
                    "init_args": {"folder": str(tmp_path / "fit")},
                },
                {
                    "class_path": "stage2_distill.evaluation.score_report.WriteScores",
                    "init_args": {"folder": str(tmp_path / "test")},
                },
                {
                    "class_path": "stage2_distill.evaluation.agreement.WriteAgreement",
                    "init_args": {"folder": str(tmp_path / "validate")},
                },
            ],
        },
        "model": {
            "student": {
                "class_path": "stage2_distill.model.student.Student",
                "init_args": {
                    "backbone": "mobilenetv3_small_050",
                    "pretrained": False,
                    "channels": 16,
                    "prototypes": 4,
                },
            },
            "loss": {
                "class_path": "stage2_distill.losses.distillation.DistillationLoss",
                "init_args": {"bce": 1.0, "dice": 1.0},
            },
            "lr": 3e-3,
        },
        "data": {
            "caches": [str(cache)],
            "test_sets": {"squares": str(test_manifest)},
            "image_size": SIZE,
            "batch_size": 6,
            "workers": 0,
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="session")
def fitted_config(tmp_path_factory, cache, test_manifest):
    """The tiny configuration in a folder with a finished training run of two epochs."""
    from boxpromptiml.cli import main

    folder = tmp_path_factory.mktemp("fitted")
    path = write_tiny_config(folder, cache, test_manifest)
    config = yaml.safe_load(path.read_text())
    last = {"dirpath": str(folder / "checkpoints"), "filename": "last", "enable_version_counter": False}
    config["trainer"]["callbacks"][0]["init_args"]["save_last"] = False
    config["trainer"]["callbacks"].append(
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": last}
    )
    path.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def with_wandb(cache, test_manifest):
    """Function that writes the tiny configuration with an offline W&B logger and all callbacks to a folder.

    As with the configurations in configs/, environment variables name its runs.
    """

    def write(folder):
        path = write_tiny_config(folder, cache, test_manifest)
        config = yaml.safe_load(path.read_text())
        logger = {
            "save_dir": str(folder),
            "project": "boxpromptiml",
            "group": "${oc.env:WANDB_RUN_GROUP,tiny}",
            "name": "${oc.env:WANDB_NAME,null}",
            "job_type": "${oc.env:WANDB_JOB_TYPE,fit}",
        }
        config["trainer"]["logger"].append({"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": logger})
        config["trainer"]["callbacks"] += [
            {
                "class_path": "lightning.pytorch.callbacks.LearningRateMonitor",
                "init_args": {"logging_interval": "step"},
            },
            {"class_path": "stage2_distill.callbacks.throughput.Throughput"},
            {
                "class_path": "stage2_distill.callbacks.wandb_dashboard.Dashboard",
                "init_args": {"folder": str(folder / "worst")},
            },
        ]
        path.write_text(yaml.safe_dump(config))
        return path

    return write


@pytest.fixture(scope="module")
def wandb_offline(tmp_path_factory):
    """W&B in offline mode, without its environment variables, with its artifact cache outside the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("staged")))
        wandb.teardown()  # drops settings read from the environment before
        yield patch
