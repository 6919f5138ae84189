"""The student that comes with the package: weights in half precision, calibrated threshold, model card.

It was made by the commands in the header of configs/released.yaml, and is the default of all commands that need a
student.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Backend = Literal["torch", "onnx"]
"""Runtime of a student's network."""
NAME = "released"
"""Name of this student wherever a checkpoint is expected."""
FOLDER = Path(__file__).parents[1] / "released"
"""Folder with model.safetensors, config.json and README.md, as written by `Localizer.save`."""
