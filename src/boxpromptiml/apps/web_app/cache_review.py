"""A cache with its worst samples first, and the list of those to leave out.

The list is ``dropped.txt`` in the cache, one image id on each line: what ``boxpromptiml cache prune`` takes. The cache
itself is never changed.
"""

from __future__ import annotations

import math
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from boxpromptiml.apps.web_app.annotation_files import inside
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.records import InputError, Sample
from boxpromptiml.images import Probability
from boxpromptiml.scoring.scores import counts_per_image, iou_from_counts
from boxpromptiml.shards import CacheError, ShardReader, read_index

if TYPE_CHECKING:  # takes seconds to import, and a page without a student does without
    from stage2_distill.inference.localizer import Localizer

Order = Literal["agreement", "confidence", "student"]
DROPPED = "dropped.txt"
BATCH = 8
"""Samples that the student sees at once."""
MARKED = 0.1
"""Share of the samples, those where student and teacher disagree most, that are marked."""


class CacheReview:
    """The samples of a complete cache, worst first. A rank is a place in that order.

    Args:
        cache: folder that `boxpromptiml pseudomasks` wrote.
        localizer: a student to compare the teacher with, or None.

    Attributes:
        cache: its folder, as it was given.
        localizer: the student.
        student_agreement: (n,) IoU of the student's mask and the pseudo-mask; None until `ask_student`.
        agreement: (n,) IoU of pseudo-mask and truth, in the order of the cache; NaN where there is no truth.

    Raises:
        InputError: the cache is incomplete or damaged, reaches out of its folder, or its list cannot be read.
    """

    def __init__(self, cache: Path, localizer: Localizer | None = None) -> None:
        self.cache, self.localizer = cache, localizer
        for entry in read_index(cache).shards:
            inside(cache.resolve(), entry.name)
        self.reader = ShardReader(cache)
        if not len(self.reader):
            raise CacheError(f"{cache}: holds no sample; make one with `boxpromptiml pseudomasks`")
        rows = tqdm(range(len(self.reader)), desc="agreement with the truth", unit="sample")
        self.agreement = np.array([agreement(self.reader[row]) for row in rows])
        confidence = self.reader.confidence
        self._orders: dict[str, NDArray[np.intp]] = {
            "agreement": np.lexsort((confidence, self.agreement)),  # NaN goes last, there by confidence
            "confidence": np.argsort(confidence, kind="stable"),
        }
        self.student_agreement: NDArray[np.float64] | None = None
        self._marked: frozenset[int] = frozenset()
        self._dropped = _read_list(cache)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.reader)

    def row(self, order: Order, rank: int) -> int:
        """Where the sample of a rank is in the cache.

        Raises:
            InputError: there is no such rank or order.
        """
        if order not in self._orders or not 0 <= rank < len(self):
            raise InputError(f"there is no sample {rank} by {order}; the cache has {len(self)}")
        return int(self._orders[order][rank])

    def ask_student(self) -> None:
        """Show every sample to the student, once, so that the order ``student`` and `is_marked` are known.

        Raises:
            InputError: there is no student, or a shard is damaged.
        """
        if self.localizer is None:
            raise InputError("no student is loaded to compare with; leave out --checkpoint for the released one")
        with self._lock:
            if self.student_agreement is None:
                found = _agreements(self.reader, self.localizer)
                order = np.lexsort((self.reader.confidence, found))
                worst = order[: math.ceil(MARKED * len(order))]
                self._marked = frozenset(worst[found[worst] < 1].tolist())
                self._orders["student"] = order
                self.student_agreement = found

    def is_marked(self, row: int) -> bool:
        """Whether a sample is of the tenth where student and teacher disagree most; before `ask_student`, none is."""
        return row in self._marked

    def is_dropped(self, row: int) -> bool:
        """Whether a sample is on the list."""
        return int(self.reader.image_ids[row]) in self._dropped

    def toggle(self, row: int) -> None:
        """Put a sample on the list, or take it off; the file is written at once."""
        with self._lock:
            changed = self._dropped ^ {int(self.reader.image_ids[row])}
            write_whole(self.cache / DROPPED, "".join(f"{image_id}\n" for image_id in sorted(changed)).encode())
            self._dropped = changed

    @property
    def dropped(self) -> int:
        """How many samples are on the list."""
        return len(self._dropped)


def agreement(sample: Sample) -> float:
    """IoU of a pseudo-mask, where it is above one half, with the truth; NaN where there is none."""
    if sample.truth is None:
        return float("nan")
    probability, truth = (torch.from_numpy(mask)[None].float() / 255 for mask in (sample.pseudo_mask, sample.truth))
    return float(iou_from_counts(*counts_per_image(probability, truth)))


def student_view(localizer: Localizer, sample: Sample) -> tuple[Probability, float]:
    """What a student says about a sample, (S, S) in [0, 1], and the IoU of its mask with the pseudo-mask."""
    (probability,) = localizer.localize([sample.image])
    return probability, _iou(probability, sample, localizer.threshold)


def _agreements(reader: ShardReader, localizer: Localizer) -> NDArray[np.float64]:
    """(n,) IoU of the student's mask with each pseudo-mask."""
    found = np.zeros(len(reader))
    for first in tqdm(range(0, len(reader), BATCH), desc="agreement with the student", unit="batch"):
        samples = [reader[row] for row in range(first, min(first + BATCH, len(reader)))]
        answers = localizer.localize([sample.image for sample in samples])
        for row, (probability, sample) in enumerate(zip(answers, samples, strict=True), first):
            found[row] = _iou(probability, sample, localizer.threshold)
    return found


def _iou(probability: Probability, sample: Sample, threshold: float) -> float:
    """IoU of a student's mask with the pseudo-mask, where that is above one half; 1 where both are empty."""
    teacher = torch.from_numpy(sample.pseudo_mask)[None] > 127
    return float(iou_from_counts(*counts_per_image(torch.from_numpy(probability)[None], teacher, threshold)))


def _read_list(cache: Path) -> frozenset[int]:
    path = cache / DROPPED
    if not path.is_symlink() and not path.exists():
        return frozenset()
    try:
        return frozenset(int(line) for line in inside(cache.resolve(), DROPPED).read_text(encoding="utf-8").split())
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise CacheError(f"{path}: cannot be read ({error}); write one image id on each line, or remove it") from None
