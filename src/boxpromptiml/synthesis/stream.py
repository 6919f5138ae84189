"""Forgeries created during training: no files are written, and no image is repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.core.records import InputError, Sample, Split
from boxpromptiml.synthesis.forger import Forger
from boxpromptiml.synthesis.plan import PLAN_FILE, SPLITS, read_plan


class ForgeryStream:
    """Forgeries according to the plan of an earlier `synthesize`, using only the photos of one split.

    The masks are exact, so no teacher is needed: the pseudo-mask of a sample is its ground truth. A stream can be sent
    to loader workers, each of which decodes photos itself.

    Args:
        folder: written by `boxpromptiml synthesize`; with `--stream_train` it contains no training images.
        length: number of samples per epoch.
        split: split whose photos and objects are used.

    Attributes:
        authentic: (length,) bool, the same for every seed.
        sources: (length,) str.

    Raises:
        InputError: the folder has no plan, or the split has no photos.
    """

    def __init__(self, folder: str, length: int, split: Split = "train") -> None:
        plan = read_plan(Path(folder))
        if plan is None:
            raise InputError(
                f"{folder}: no {PLAN_FILE}; make one with `boxpromptiml synthesize --stream_train --out {folder}`"
            )
        photos = plan.photos_of(split)
        if not photos:
            raise InputError(f"{folder}: its plan has no photos for {split}; run synthesize with --{split} above 0")
        self.settings = plan.settings
        self.forger = Forger(photos, plan.objects_of(split), plan.settings.size, plan.settings.recipe)
        self.split: Split = split
        draws = np.random.default_rng([plan.settings.seed, SPLITS.index(split)]).random(length)
        self.authentic = draws < plan.settings.authentic_share
        self.sources = np.full(length, "stream")

    def __len__(self) -> int:
        return len(self.authentic)

    def draw(self, index: int, seed: int) -> Sample:
        """Create the sample determined by ``index`` and ``seed``, in [0, 2³²)."""
        size, kinds = self.settings.size, self.settings.kinds
        rng = np.random.default_rng([seed, index])
        host = self.forger.photos[int(rng.integers(len(self.forger.photos)))]
        kind = None if self.authentic[index] else kinds[int(rng.integers(len(kinds)))]
        photo, mask = self.forger.make(kind, host, rng)
        boxes = as_boxes([]) if mask is None else boxes_from_mask(mask, rng, self.settings.looseness)
        exact = np.zeros((size, size), np.uint8) if mask is None else mask.astype(np.uint8) * 255
        return Sample(
            image_id=index,
            image=photo,
            pseudo_mask=exact,
            truth=exact,
            boxes_xyxy=boxes,
            teacher_scores=np.ones(len(boxes), np.float32),
            source="stream",
            split=self.split,
            authentic=kind is None,
            kind=kind or "",
            width=size,
            height=size,
        )
