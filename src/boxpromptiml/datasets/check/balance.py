"""What a split holds: classes, kinds, sources and sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boxpromptiml.datasets.check.measure import Entry


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest, median and largest of some values."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Balance:
    """The images of one split. A range is None where there is no value.

    Attributes:
        images: all of them.
        manipulated: those with boxes.
        authentic: those without.
        with_truth: manipulated ones with a mask.
        twins: authentic ones with a forgery of the same photo in the same split.
        sources: images by set.
        kinds: manipulated images by kind, which is empty where it is not known.
        width: pixels.
        height: pixels.
        boxes: boxes of a manipulated image.
        box_share: share of a manipulated image inside its boxes.
        mask_share: share of a manipulated image inside its mask.
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
    """Count the images of a split, of which ``twins`` are authentic with a forgery beside them."""
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
