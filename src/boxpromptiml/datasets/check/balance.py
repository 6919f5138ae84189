"""Statistics of a split: classes, kinds, sources and sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boxpromptiml.datasets.check.measure import Entry


@dataclass(frozen=True, slots=True)
class Range:
    """Minimum, median and maximum."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Balance:
    """Statistics of one split. A range is None if there are no values.

    Attributes:
        images: number of images.
        manipulated: number of images with boxes.
        authentic: number of images without boxes.
        with_truth: number of manipulated images with ground truth.
        twins: number of authentic images with a forgery of the same photo in the split.
        sources: number of images by data set.
        kinds: number of manipulated images by kind, "" if unknown.
        width: width of an image in pixels.
        height: height of an image in pixels.
        boxes: number of boxes of a manipulated image.
        box_share: fraction of a manipulated image covered by its boxes.
        mask_share: fraction of a manipulated image covered by its mask.
    """

    images: int
    manipulated: int
    authentic: int
    with_truth: int
    twins: int
    sources: dict[str, int]
    kinds: dict[str, int]
    width: Range | None
    height: Range | None
    boxes: Range | None
    box_share: Range | None
    mask_share: Range | None


def balance(entries: Sequence[Entry], twins: int) -> Balance:
    """Compute the statistics of a split, which has ``twins`` authentic images with a forgery of the same photo."""
    manipulated = [entry for entry in entries if not entry.record.authentic]
    shares = [entry.facts.mask_share for entry in manipulated if entry.facts.mask_share is not None]
    return Balance(
        images=len(entries),
        manipulated=len(manipulated),
        authentic=len(entries) - len(manipulated),
        with_truth=len(shares),
        twins=twins,
        sources=dict(Counter(entry.record.source for entry in entries).most_common()),
        kinds=dict(Counter(entry.record.kind or "" for entry in manipulated).most_common()),
        width=_range([entry.record.width for entry in entries]),
        height=_range([entry.record.height for entry in entries]),
        boxes=_range([len(entry.record.boxes_xyxy) for entry in manipulated]),
        box_share=_range([entry.facts.box_share for entry in manipulated]),
        mask_share=_range(shares),
    )


def _range(values: Sequence[float]) -> Range | None:
    if not values:
        return None
    return Range(*(round(float(value), 4) for value in (min(values), np.median(values), max(values))))
