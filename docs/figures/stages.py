"""The two stages in pictures: a box becomes a pseudo-mask; a student that never sees a box answers on another photo.

Command: python docs/figures/stages.py, after `make demo`; --checkpoint names another student
"""

from __future__ import annotations

from pathlib import Path

import forgeries
import numpy as np
import torch
from boxes import pseudo_mask
from fusion import forged
from jsonargparse import auto_cli
from matplotlib.figure import Figure

from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.images import visualization
from stage2_distill.inference.localizer import Localizer


def main(checkpoint: Path = Path("runs/demo/fit/checkpoints/best.ckpt")) -> None:
    """Draw the figure.

    Args:
        checkpoint: checkpoint written by `boxpromptiml fit`.
    """
    photo, truth = forgeries.flying_saucer()
    localizer = Localizer.load(checkpoint)
    unseen, _ = forged("chelsea", "splice", 3, localizer.student.image_size)
    boxes = boxes_from_mask(truth, np.random.default_rng(0), looseness=0.3, looseness_min=0.1)
    part = slice(40, 340), slice(340, 640)
    figure = Figure(figsize=(8.4, 2.4), layout="constrained")
    first, second, third, fourth = figure.subplots(1, 4)
    forgeries.show(first, visualization.with_boxes(photo, boxes)[part], "a person draws a coarse box")
    forgeries.show(second, visualization.grey(pseudo_mask(photo, boxes))[part], "stage one: pseudo-mask")
    forgeries.show(third, unseen, "stage two: photo in …")
    with torch.inference_mode():
        forgeries.show(fourth, visualization.grey(localizer.predict(unseen).probability), "… mask out, no box")
    forgeries.save(figure, "stages.jpg")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
