"""One shard under scrutiny: every byte read, by two readers, with all checksums."""

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
    """Something that is not as it should be.

    Attributes:
        file: name of the shard, or of another file.
        image_id: which sample, or None where it is all of them or none.
        what: in words.
    """

    file: str
    image_id: int | None
    what: str


@dataclass(frozen=True)
class ExaminedShard:
    """What was found in one shard.

    Attributes:
        path: the HDF5 file.
        image_ids: (n,) int64, of all its samples, damaged or not; empty when it cannot be opened.
        set_aside: images of its slice of the manifest that could not be used.
        stamp: what produced it, or None when it cannot be opened.
        problems: in the order of the samples.
        damaged: whether its content, and not only its schema, is the problem.
    """

    path: Path
    image_ids: NDArray[np.int64]
    set_aside: list[SetAside]
    stamp: Stamp | None
    problems: list[Problem]
    damaged: bool


def examine(path: Path) -> ExaminedShard:
    """Read one shard as training does and as HDF5 does."""
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
    """Replace a damaged shard by a part with all that is whole in it, which the next run completes."""
    samples, set_aside, _ = salvage(path, None)
    if samples or set_aside:
        write_shard(
            path.with_name(f"part-{place_of(path):05d}-kept.h5"), samples, set_aside, open_shard(path, None).stamp
        )
    path.unlink()
