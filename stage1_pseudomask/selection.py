"""From a teacher's candidates to one pseudo-mask for an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.boxes import Boxes, rasterize, with_margin
from boxpromptiml.images import Probability
from stage1_pseudomask.teachers import Candidates


def select(candidates: Candidates, boxes_xyxy: Boxes, margin: float) -> tuple[Probability, NDArray[np.float32]]:
    """Best candidate of each box, cut to the box and its margin, united over the boxes.

    A loose box can pull a teacher towards the background, so nothing outside the margin counts; a box of which nothing
    is left counts whole, because its annotator saw something there.

    Args:
        candidates: for the N boxes of one image.
        boxes_xyxy: (N, 4) corner boxes in the frame of the candidates.
        margin: how far a mask may reach over each side of its box, as a share of the box.

    Returns:
        The (H, W) pseudo-mask in [0, 1], the largest probability where boxes overlap, and an (N,) score for each box:
        the teacher's, or 0 for a box that counts whole.
    """
    height, width = candidates.probability.shape[2:]
    pseudo_mask = np.zeros((height, width), np.float32)
    scores = np.zeros(len(boxes_xyxy), np.float32)
    for i, reach in enumerate(with_margin(boxes_xyxy, margin, width, height)):
        best = int(candidates.scores[i].argmax())
        mask = np.where(rasterize(reach[None], width, height), candidates.probability[i, best], 0)
        if (mask > 0.5).any():
            scores[i] = candidates.scores[i, best]
        else:
            mask = rasterize(boxes_xyxy[i : i + 1], width, height).astype(np.float32)
        np.maximum(pseudo_mask, mask, out=pseudo_mask)
    return pseudo_mask, scores
