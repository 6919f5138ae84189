"""A cache with its worst samples first, and the list of those to leave out.

The list is ``dropped.txt`` in the cache, one image id on each line: what ``boxpromptiml cache prune`` takes. The cache
itself is never changed.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from boxpromptiml.apps.web_app.annotation_files import inside
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.records import InputError, Sample
from boxpromptiml.scoring.scores import counts_per_image, iou_from_counts
from boxpromptiml.shards import CacheError, ShardReader, read_index

Order = Literal["agreement", "confidence"]
DROPPED = "dropped.txt"


class CacheReview:
    """The samples of a complete cache, worst first. A rank is a place in that order.

    Args:
        cache: folder that `boxpromptiml pseudomasks` wrote.

    Attributes:
        cache: its folder, as it was given.
        agreement: (n,) IoU of pseudo-mask and truth, in the order of the cache; NaN where there is no truth.

    Raises:
        InputError: the cache is incomplete or damaged, reaches out of its folder, or its list cannot be read.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
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
