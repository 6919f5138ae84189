"""What the fusion module of a trained student looks at: gates, both priors and the answer, on photos it never saw.

Command: python docs/figures/fusion.py, after `make demo`; --checkpoint names another student
"""

from __future__ import annotations

from pathlib import Path

import forgeries
import numpy as np
import torch
import yaml
from jsonargparse import auto_cli
from matplotlib.figure import Figure

from boxpromptiml.images import Mask, Photo, visualization
from boxpromptiml.synthesis.forger import Forger
from boxpromptiml.synthesis.recipe import Kind, Recipe, Traces
from stage2_distill.data.preprocessing import student_input
from stage2_distill.model.student import Student

SHOWN: tuple[tuple[str, Kind, int], ...] = (
    ("chelsea", "splice", 3),
    ("coffee", "copy_move", 1),
    ("chelsea", "removal", 2),
)
"""Host, kind and seed of each row. Both photos belong to the demo's test split."""
PRIORS = ("gate prior $G_{avg}$", "memory prior $\\bar{A}_{mem}$")
CONFIG = Path(__file__).parents[2] / "configs/synthesis/demo.yaml"


def forged(scene: str, kind: Kind, seed: int, size: int) -> tuple[Photo, Mask]:
    """A forgery by the demo's recipe, and its mask."""
    settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["recipe"]
    traces = {stage: Traces(**settings.pop(stage)) for stage in ("host", "donor", "finish")}
    photos = [forgeries.source("chelsea"), forgeries.source("coffee")]
    forger = Forger(photos, [], size, Recipe(**settings, **traces))
    photo, mask = forger.make(kind, forgeries.source(scene), np.random.default_rng(seed))
    assert mask is not None
    return photo, mask


@torch.inference_mode()
def main(checkpoint: Path = Path("runs/demo/fit/checkpoints/best.ckpt")) -> None:
    """Draw the figure.

    Args:
        checkpoint: checkpoint of a student with gates and memory, written by `boxpromptiml fit`.
    """
    student = Student.from_checkpoint(checkpoint)
    figure = Figure(figsize=(11.6, 4.6), layout="constrained")
    axes = figure.subplots(len(SHOWN), 8)
    gates = (f"gate $G_{level}$" for level in range(1, 5))
    for axis, title in zip(axes[0], ["forged photo", *gates, *PRIORS, "answer"], strict=True):
        axis.set_title(title, fontsize=10, color=forgeries.INK)
    for row, (scene, kind, seed) in zip(axes, SHOWN, strict=True):
        photo, mask = forged(scene, kind, seed, student.image_size)
        answer = student(student_input(photo, student.image_size)[None])
        maps = [*answer.gates[0], answer.gate_prior[0, 0], answer.memory_prior[0, 0]]
        forgeries.show(row[0], visualization.outlined(photo, mask))
        for axis, values in zip(row[1:7], maps, strict=True):
            forgeries.show(axis, values.numpy(), colours="inferno")
        probability = torch.sigmoid(answer.logits)[0, 0].numpy()
        forgeries.show(row[7], probability, colours="gray")
    forgeries.save(figure, "fusion.png")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
