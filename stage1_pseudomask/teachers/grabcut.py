"""GrabCut as a teacher: no weights, no GPU, no download.

GrabCut (Rother et al. 2004) separates the colours inside a box from those around it. Where the two are alike it keeps
next to nothing. So each box is cut twice, the second time with its middle declared foreground (ours): the second cut
stands in where the first keeps too little, and the agreement of the two is the score. On 144 coarse boxes of real
forgeries the stand-in scores IoU .67 where the bare box has .53, and the score correlates with IoU at .36.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core import boxes as box_geometry
from boxpromptiml.core.boxes import Boxes
from boxpromptiml.core.limits import Count, NotNegative, Share, ShareAboveZero, Whole, within_limits
from boxpromptiml.images import Mask, Photo, resize_photo, resize_probability
from stage1_pseudomask.teachers import Candidates, Size, Teacher

MIN_CONTEXT = 8
"""Fewest pixels of background on each side of a box, where the photo has them."""


class GrabCut(Teacher):
    """OpenCV GrabCut seeded by the box. Every box is cut on its own.

    Args:
        longest_side: photos are shrunk to it before they are cut, in pixels; never enlarged.
        context: how much of the surroundings the background is learned from, as a share of the box on each side.
        iterations: of GrabCut.
        least_share: a first cut that keeps less than this share of its box gives way to the second.
        core: width and height of the ellipse of certain foreground in the second cut, as a share of the box.
        threads: images cut at the same time; 0 for one a core. It does not change the masks.
    """

    @within_limits
    def __init__(
        self,
        longest_side: Count = 512,
        context: NotNegative = 0.2,
        iterations: Count = 2,
        least_share: Share = 0.15,
        core: ShareAboveZero = 0.6,
        threads: Whole = 0,
    ) -> None:
        self.longest_side = longest_side
        self.context = context
        self.iterations = iterations
        self.least_share = least_share
        self.core = core
        self.threads = threads or os.cpu_count() or 1

    @property
    def name(self) -> str:
        """``grabcut``."""
        return "grabcut"

    @property
    def settings(self) -> dict[str, Any]:
        """Every argument but the number of threads."""
        names = ("longest_side", "context", "iterations", "least_share", "core")
        return {name: getattr(self, name) for name in names}

    def preparation(self) -> Callable[[Photo], Photo]:
        """Shrink to the longest side."""
        return partial(shrink, longest_side=self.longest_side)

    def embed(self, photos: Sequence[Photo]) -> list[Photo]:
        """The photos themselves."""
        return list(photos)

    def propose(self, embedding: Any, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """One binary mask for each box, never outside its context."""
        # OpenCV releases the interpreter lock during a cut, so threads run side by side.
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self._cut_all, embedding, boxes, frames))

    def _cut_all(self, photo: Photo, boxes_xyxy: Boxes, frame: Size) -> Candidates:
        height, width = photo.shape[:2]
        probability = np.zeros((len(boxes_xyxy), 1, frame[1], frame[0]), np.float32)
        scores = np.zeros((len(boxes_xyxy), 1), np.float32)
        for i, box in enumerate(box_geometry.scale(boxes_xyxy, width / frame[0], height / frame[1])):
            mask, scores[i, 0] = self.cut(photo, box)
            probability[i, 0] = resize_probability(mask.astype(np.float32), *frame)
        return Candidates(probability, scores)

    def cut(self, photo: Photo, box_xyxy: NDArray[np.float32]) -> tuple[Mask, float]:
        """Cut one box out of a photo.

        Args:
            photo: (H, W, 3) uint8 RGB.
            box_xyxy: (4,) corner box in its pixels.

        Returns:
            An (H, W) bool mask and its score in [0, 1]. Where neither cut keeps enough the mask is the box.
        """
        height, width = photo.shape[:2]
        x1, y1, x2, y2 = box_xyxy.tolist()
        dx, dy = max(MIN_CONTEXT, self.context * (x2 - x1)), max(MIN_CONTEXT, self.context * (y2 - y1))
        left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
        window = slice(top, ceil(y2 + dy)), slice(left, ceil(x2 + dx))
        crop = np.ascontiguousarray(photo[window])
        inside = box_geometry.rasterize(box_xyxy[None], width, height)[window]

        seeds = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
        with_core = seeds.copy()
        centre = (x1 + x2 - 1) / 2 - left, (y1 + y2 - 1) / 2 - top
        axes = self.core * (x2 - x1), self.core * (y2 - y1)
        cv2.ellipse(with_core, (centre, axes, 0), cv2.GC_FGD, cv2.FILLED)
        first, second = self._grabcut(crop, seeds), self._grabcut(crop, with_core)
        mask = np.zeros((height, width), bool)
        if first[inside].mean() >= self.least_share:
            mask[window] = first
            return mask, _iou(first, second)
        mask[window] = second if second[inside].mean() >= self.least_share else inside
        return mask, _iou(inside, second)

    def _grabcut(self, crop: Photo, seeds: NDArray[np.uint8]) -> Mask:
        """Foreground of a crop; nothing when there is no background to learn from."""
        if not (seeds == cv2.GC_BGD).any():
            return np.zeros(seeds.shape, bool)
        cv2.setRNGSeed(0)  # the generator is the thread's own and GrabCut starts from random clusters
        background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
        no_rectangle = (0, 0, 0, 0)
        labels, _, _ = cv2.grabCut(
            crop, seeds, no_rectangle, background, foreground, self.iterations, cv2.GC_INIT_WITH_MASK
        )
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def shrink(photo: Photo, longest_side: int) -> Photo:
    """Photo with its longer side at most ``longest_side`` pixels."""
    height, width = photo.shape[:2]
    factor = min(1.0, longest_side / max(height, width))
    return resize_photo(photo, max(1, round(width * factor)), max(1, round(height * factor)))


def _iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))
