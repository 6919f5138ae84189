"""Random access to the samples of a complete cache, for training."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.records import Sample, Split
from boxpromptiml.shards.index import read_index
from boxpromptiml.shards.shard import REPAIR, CacheError, open_shard

MAX_OPEN_FILES = 128
"""Maximum number of open shards per process; systems commonly allow 1,024 files."""


class ShardReader:
    """The samples of a complete cache, usable from any number of processes.

    Everything except pixels is read at once, in about a millisecond per shard. Each process opens a file when it first
    needs one of its samples. Pickling drops the file handles, which are useless in another process, so a reader can be
    sent to loader workers whatever the start method.

    Args:
        cache: folder with shards and ``index.json``.
        splits: splits to load; None for all.

    Attributes:
        index: content of the cache's ``index.json``.
        image_ids: (n,) int64, in the order of the samples.
        splits: (n,) str.
        sources: (n,) str.
        kinds: (n,) str, type of manipulation; empty if unknown.
        authentic: (n,) bool.
        confidence: (n,) float32 in [0, 1], see `Sample.confidence`.

    Raises:
        CacheError: the cache is incomplete, or a shard is missing, truncated, or from another run.
    """

    def __init__(self, cache: Path, splits: Collection[Split] | None = None) -> None:
        self.cache = cache
        self.index = read_index(cache)
        self._shards = [open_shard(cache / entry.name, self.index.stamp) for entry in self.index.shards]
        for entry, shard in zip(self.index.shards, self._shards, strict=True):
            if entry.samples != len(shard):
                raise CacheError(f"{shard.path}: {len(shard)} samples, but the index lists {entry.samples}; {REPAIR}")
        all_splits = _joined([shard.texts("split") for shard in self._shards], str)
        keep = np.ones(len(all_splits), bool) if splits is None else np.isin(all_splits, list(splits))
        counts = [len(shard) for shard in self._shards]
        self._shard_of = np.repeat(np.arange(len(counts)), counts)[keep]
        self._row_of = _joined([np.arange(count) for count in counts], np.int64)[keep]
        self.splits: NDArray[np.str_] = all_splits[keep]
        self.sources: NDArray[np.str_] = _joined([shard.texts("source") for shard in self._shards], str)[keep]
        self.kinds: NDArray[np.str_] = _joined([shard.texts("kind") for shard in self._shards], str)[keep]
        self.image_ids: NDArray[np.int64] = self._column("image_id", np.int64)[keep]
        self.authentic: NDArray[np.bool_] = self._column("authentic", bool)[keep]
        self.confidence: NDArray[np.float32] = self._column("confidence", np.float32)[keep]
        self._files: dict[int, BinaryIO] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, i: int) -> Sample:
        place = int(self._shard_of[i])
        return self._shards[place].sample(int(self._row_of[i]), self._file(place))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def _column(self, name: str, dtype: type) -> NDArray[Any]:
        return _joined([shard.facts[name] for shard in self._shards], dtype)

    def _file(self, place: int) -> BinaryIO:
        if self._process != os.getpid():  # file positions of inherited handles are shared with the parent
            self._files, self._process = {}, os.getpid()
        if place not in self._files:
            if len(self._files) >= MAX_OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            try:
                self._files[place] = self._shards[place].path.open("rb", buffering=0)
            except FileNotFoundError:
                raise CacheError(f"{self._shards[place].path}: the shard is missing; {REPAIR}") from None
        return self._files[place]


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts])
