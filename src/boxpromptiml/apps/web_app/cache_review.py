"""Review of a cache with its worst samples first, and the list of samples to drop.

The list is ``dropped.txt`` in the cache, with one image id per line, as input for ``boxpromptiml cache prune``. The
cache itself is never changed.
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
from boxpromptiml.scoring.score_functions import counts_per_image, iou_from_counts
from boxpromptiml.shards import CacheError, ShardReader, read_index

if TYPE_CHECKING:  # a slow import that is not needed without a student
    from stage2_distill.inference.localizer import Localizer

Order = Literal["agreement", "confidence", "student"]
DROPPED = "dropped.txt"
BATCH = 8
"""Batch size of the student."""
MARKED = 0.1
"""Fraction of the samples that are marked: those with the largest disagreement of student and teacher."""


class CacheReview:
    """The samples of a complete cache, worst first. A rank is a position in that order.

    Args:
        cache: folder written by `boxpromptiml pseudomasks`.
        localizer: a student to compare the teacher with, or None.

    Attributes:
        cache: its folder, as given by the user.
        localizer: the student.
        student_agreement: (n,) IoU of the student's mask with the pseudo-mask; None until `ask_student` is called.
        agreement: (n,) IoU of pseudo-mask and ground truth, in the order of the cache; NaN without ground truth.

    Raises:
        InputError: the cache is incomplete or damaged, refers to files outside its folder, or its list cannot be read.
    """

    def __init__(self, cache: Path, localizer: Localizer | None = None) -> None:
        self.cache, self.localizer = cache, localizer
        for entry in read_index(cache).shards:
            inside(cache.resolve(), entry.name)
        self.reader = ShardReader(cache)
        if not len(self.reader):
            raise CacheError(f"{cache}: the cache is empty; make one with `boxpromptiml pseudomasks`")
        rows = tqdm(range(len(self.reader)), desc="agreement with the truth", unit="sample")
        self.agreement = np.array([agreement(self.reader[row]) for row in rows])
        confidence = self.reader.confidence
        self._orders: dict[str, NDArray[np.intp]] = {
            "agreement": np.lexsort((confidence, self.agreement)),  # NaN last, ordered by confidence
            "confidence": np.argsort(confidence, kind="stable"),
        }
        self.student_agreement: NDArray[np.float64] | None = None
        self._marked: frozenset[int] = frozenset()
        self._dropped = _read_list(cache)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.reader)

    def row(self, order: Order, rank: int) -> int:
        """Return the index in the cache of the sample with a rank.

        Raises:
            InputError: the rank or order does not exist.
        """
        if order not in self._orders or not 0 <= rank < len(self):
            raise InputError(f"there is no sample {rank} by {order}; the cache has {len(self)}")
        return int(self._orders[order][rank])

    def ask_student(self) -> None:
        """Run the student on all samples, once, which enables the order ``student`` and `is_marked`.

        Raises:
            InputError: there is no student, or a shard is damaged.
        """
        if self.localizer is None:
            raise InputError("no student is loaded; omit --checkpoint to compare with the released one")
        with self._lock:
            if self.student_agreement is None:
                found = _agreements(self.reader, self.localizer)
                order = np.lexsort((self.reader.confidence, found))
                worst = order[: math.ceil(MARKED * len(order))]
                self._marked = frozenset(worst[found[worst] < 1].tolist())
                self._orders["student"] = order
                self.student_agreement = found

    def is_marked(self, row: int) -> bool:
        """Return whether a sample is in the tenth with the largest disagreement; requires `ask_student`."""
        return row in self._marked

    def is_dropped(self, row: int) -> bool:
        """Return whether a sample is on the list."""
        return int(self.reader.image_ids[row]) in self._dropped

    def toggle(self, row: int) -> None:
        """Add a sample to the list or remove it, and write the file."""
        with self._lock:
            changed = self._dropped ^ {int(self.reader.image_ids[row])}
            write_whole(self.cache / DROPPED, "".join(f"{image_id}\n" for image_id in sorted(changed)).encode())
            self._dropped = changed

    @property
    def dropped(self) -> int:
        """Number of samples on the list."""
        return len(self._dropped)


def agreement(sample: Sample) -> float:
    """IoU of a pseudo-mask, binarized at 0.5, with the ground truth; NaN if there is none."""
    if sample.truth is None:
        return float("nan")
    probability, truth = (torch.from_numpy(mask)[None].float() / 255 for mask in (sample.pseudo_mask, sample.truth))
    return float(iou_from_counts(*counts_per_image(probability, truth)))


def student_view(localizer: Localizer, sample: Sample) -> tuple[Probability, float]:
    """Predict a sample, (S, S) in [0, 1], and compute the IoU of the student's mask with the pseudo-mask."""
    (probability,) = localizer.localize([sample.image])
    return probability, _iou(probability, sample, localizer.threshold)


def _agreements(reader: ShardReader, localizer: Localizer) -> NDArray[np.float64]:
    """Compute the (n,) IoU of the student's mask with each pseudo-mask."""
    found = np.zeros(len(reader))
    for first in tqdm(range(0, len(reader), BATCH), desc="agreement with the student", unit="batch"):
        samples = [reader[row] for row in range(first, min(first + BATCH, len(reader)))]
        answers = localizer.localize([sample.image for sample in samples])
        for row, (probability, sample) in enumerate(zip(answers, samples, strict=True), first):
            found[row] = _iou(probability, sample, localizer.threshold)
    return found


def _iou(probability: Probability, sample: Sample, threshold: float) -> float:
    """IoU of a student's mask with the pseudo-mask, binarized at 0.5; 1 if both are empty."""
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
