"""Verification of one shard: every byte is read by two readers, and all checksums are verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.records import SetAside, Stamp
from boxpromptiml.shards import CacheError, DamageError, open_shard, opened, place_of, salvage, write_shard
from boxpromptiml.shards.shard import PIXELS


@dataclass(frozen=True)
class Problem:
    """A problem of a cache.

    Attributes:
        file: name of the shard or of another file.
        image_id: id of the affected sample; None if the problem concerns the whole file.
        what: description.
    """

    file: str
    image_id: int | None
    what: str


@dataclass(frozen=True)
class ExaminedShard:
    """Result of examining one shard.

    Attributes:
        path: the HDF5 file.
        image_ids: (n,) int64, of all samples, damaged or not; empty if the shard cannot be opened.
        set_aside: skipped images in the shard's part of the manifest.
        stamp: what produced the shard, or None if it cannot be opened.
        problems: problems found, in the order of the samples.
        damaged: True if the content is damaged, False if at most the schema differs.
    """

    path: Path
    image_ids: NDArray[np.int64]
    set_aside: list[SetAside]
    stamp: Stamp | None
    problems: list[Problem]
    damaged: bool


def examine(path: Path) -> ExaminedShard:
    """Read a shard both with `Shard.sample`, as in training, and with HDF5."""
    try:
        shard = open_shard(path, None)
    except CacheError as error:
        problem = Problem(path.name, None, str(error).removeprefix(f"{path}: "))
        return ExaminedShard(path, np.zeros(0, np.int64), [], None, [problem], isinstance(error, DamageError))
    problems = []
    with path.open("rb") as stream, opened(path) as file:
        for row, image_id in enumerate(shard.image_ids.tolist()):
            try:
                shard.sample(row, stream)
                for pixels in PIXELS:
                    file[pixels][row]
            except DamageError:
                problems.append(Problem(path.name, image_id, "damaged, its checksum differs"))
            except OSError:
                problems.append(Problem(path.name, image_id, "damaged, HDF5's checksum differs"))
    return ExaminedShard(path, shard.image_ids, shard.set_aside, shard.stamp, problems, bool(problems))


def take_apart(path: Path) -> None:
    """Replace a damaged shard by a part file with its intact samples, which the next run completes."""
    samples, set_aside, _ = salvage(path, None)
    if samples or set_aside:
        write_shard(
            path.with_name(f"part-{place_of(path):05d}-kept.h5"), samples, set_aside, open_shard(path, None).stamp
        )
    path.unlink()
