"""The student that comes with the package: weights in half precision, calibrated threshold, model card.

It is made by the commands in the header of configs/released.yaml. ``released`` names it wherever a command takes a
checkpoint, and commands that need a student take it by default.
"""

from __future__ import annotations

from pathlib import Path

RELEASED = "released"
FOLDER = Path(__file__).with_name("released")
"""Holds model.safetensors, config.json and README.md, as `Localizer.save` writes them."""
