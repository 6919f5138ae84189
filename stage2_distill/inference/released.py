"""The student that comes with the package: weights in half precision, calibrated threshold, model card.

Made by the commands in the header of configs/released.yaml. Commands that need a student take it where none is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Backend = Literal["torch", "onnx"]
"""What a student's network runs in."""
NAME = "released"
"""Stands for it wherever a checkpoint is named."""
FOLDER = Path(__file__).parents[1] / "released"
"""Holds model.safetensors, config.json and README.md, as `Localizer.save` writes them."""
