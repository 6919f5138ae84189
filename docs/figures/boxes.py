"""How coarse a box may be: two forgeries, three boxes for each, GrabCut's masks, and the IoU with the truth.

Command: python docs/figures/boxes.py
"""

from __future__ import annotations

import forgeries
import numpy as np
import torch
from matplotlib.figure import Figure

from boxpromptiml.core.boxes import Boxes, rasterize
from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.images import Mask, Photo, Probability, visualization
from stage1_pseudomask.selection import select
from stage1_pseudomask.teachers.grabcut import GrabCut

LOOSENESS = (0.0, 0.15, 0.3)


def pseudo_mask(photo: Photo, boxes: Boxes) -> Probability:
    """What stage one would store, at the photo's own size."""
    teacher = GrabCut()
    teacher.load(torch.device("cpu"))
    embedding = teacher.embed([teacher.preparation()(photo)])
    [candidates] = teacher.propose(embedding, [boxes], [(photo.shape[1], photo.shape[0])])
    return select(candidates, boxes, margin=0.05)[0].numpy()


def iou(found: Mask, truth: Mask) -> float:
    """Intersection over union."""
    return float((found & truth).sum() / (found | truth).sum())


def main() -> None:
    """Draw the figure."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    axes = figure.subplots(2, len(LOOSENESS))
    squares = ((forgeries.flying_saucer(), (60, 340)), (forgeries.third_eye(), (0, 151)))
    for row, ((photo, truth), (top, left)) in zip(axes, squares, strict=True):
        part = slice(top, top + 300), slice(left, left + 300)
        for axis, looseness in zip(row, LOOSENESS, strict=True):
            boxes = boxes_from_mask(truth, np.random.default_rng(0), looseness, looseness_min=looseness)
            mask = pseudo_mask(photo, boxes)
            bare = iou(rasterize(boxes, photo.shape[1], photo.shape[0]), truth)
            name = "tight box" if not looseness else f"{looseness:.0%} wider on each side"
            marked = visualization.with_boxes(visualization.overlay(photo, mask, opacity=0.35), boxes)
            numbers = f"IoU: box {bare:.2f}, pseudo-mask {iou(mask > 0.5, truth):.2f}"
            forgeries.show(axis, marked[part], f"{name}\n{numbers}")
    forgeries.save(figure, "boxes.jpg")


if __name__ == "__main__":
    main()
