"""The recipe of the training benchmarks: student, loss, size and precision of a configuration."""

from __future__ import annotations

import os
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import torch
from table import QUICK

from boxpromptiml.runtime.configs import chain
from stage2_distill.losses.distillation import DistillationLoss
from stage2_distill.model.student import Student

GPU = torch.cuda.is_available()
NAME = os.environ.get("RECIPE", "released")
"""A configuration in configs: ``released``, or ``full`` for the paper's student."""


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    return below | both


_FILES = chain(Path(__file__).parents[1] / f"configs/{NAME}.yaml")
_CONFIG: dict[str, Any] = reduce(_merged, (msgspec.yaml.decode(file.read_bytes()) for file in _FILES))
_STUDENT: dict[str, Any] = _CONFIG["model"]["student"]["init_args"] | {"pretrained": False, "weights": None}
SIZE: int = 64 if QUICK else _CONFIG["data"]["image_size"]
"""Side of the student's input in pixels."""
BATCH: int = 4 if QUICK else 64 if GPU else min(16, _CONFIG["data"]["batch_size"])
PRECISION: str = _CONFIG["trainer"].get("precision", "32-true")
BACKBONE: str = _STUDENT["backbone"]


def student() -> Student:
    """Create the recipe's student with random weights, which take the same time."""
    quick = {"backbone": "mobilenetv3_small_050", "channels": 16} if QUICK else {}
    return Student(**{**_STUDENT, **quick, "image_size": SIZE})


def loss() -> DistillationLoss:
    """Create the recipe's loss."""
    return DistillationLoss(**_CONFIG["model"]["loss"]["init_args"])
