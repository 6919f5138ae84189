"""A cache folder: ``shard-RRR-NNNNN.h5`` files and ``index.json``, which is written last and marks it as complete.

RRR is the process that wrote a shard, NNNNN the position of the shard in the manifest's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from boxpromptiml.core.records import SetAside, Stamp
from boxpromptiml.runtime.provenance import write_json
from boxpromptiml.shards.shard import AGAIN, SCHEMA, CacheError, Shard, open_shard


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard in the index."""

    name: str
    samples: int


@dataclass(frozen=True, slots=True)
class CacheIndex:
    """Content of ``index.json`` of a complete cache.

    Attributes:
        stamp: what produced the shards.
        shards: name and number of samples of each shard, in the manifest's order.
        samples: total number of samples.
        set_aside: all skipped images.
        seconds: computing time, summed over processes and interrupted runs.
        images_per_second: samples divided by seconds, that is, the throughput of one process.
    """

    stamp: Stamp
    shards: list[ShardEntry]
    samples: int
    set_aside: list[SetAside]
    seconds: float
    images_per_second: float


def shard_paths(cache: Path) -> dict[int, Path]:
    """Map position NNNNN to shard file, in the manifest's order and regardless of the process that wrote it."""
    places = {place_of(path): path for path in sorted(cache.glob("shard-*-*.h5"))}
    return dict(sorted(places.items()))


def place_of(path: Path) -> int:
    """Return position NNNNN from a shard's file name.

    Raises:
        CacheError: it has another form, such as that of a copy.
    """
    position = path.stem.rsplit("-", 1)[1]
    if not position.isdecimal():
        raise CacheError(f"{path}: not the name of a shard (shard-RRR-NNNNN.h5); move it elsewhere or delete it")
    return int(position)


def index_of(shards: Sequence[Shard], stamp: Stamp, set_aside: Sequence[SetAside] = ()) -> CacheIndex:
    """Build the index of some shards; ``set_aside`` are images skipped before they were assigned to a shard."""
    samples = sum(map(len, shards))
    seconds = sum(shard.seconds for shard in shards)
    return CacheIndex(
        stamp=stamp,
        shards=[ShardEntry(shard.path.name, len(shard)) for shard in shards],
        samples=samples,
        set_aside=[*set_aside, *(item for shard in shards for item in shard.set_aside)],
        seconds=round(seconds, 3),
        images_per_second=round(samples / seconds, 3) if seconds else 0.0,
    )


def write_index(cache: Path, stamp: Stamp, set_aside: Sequence[SetAside] = ()) -> CacheIndex:
    """Write ``index.json`` for all shards of a folder, which marks the cache as complete.

    Args:
        cache: the folder.
        stamp: required stamp of every shard.
        set_aside: images skipped before they were assigned to a shard.

    Raises:
        CacheError: a shard is damaged or has a different stamp, or the index cannot be written.
    """
    index = index_of([open_shard(path, stamp) for path in shard_paths(cache).values()], stamp, set_aside)
    try:
        write_json(cache / "index.json", msgspec.to_builtins(index))
    except OSError as error:
        raise CacheError(
            f"{cache}/index.json: cannot be written ({error.strerror}); free space, then {AGAIN}"
        ) from None
    return index


def read_index(cache: Path) -> CacheIndex:
    """Read the index of a complete cache.

    Raises:
        CacheError: there is no cache, it is incomplete, or the index has a different schema.
    """
    path = cache / "index.json"
    try:
        index = msgspec.json.decode(path.read_bytes(), type=CacheIndex)
    except FileNotFoundError:
        if not any(cache.glob("*.h5")):
            raise CacheError(f"{cache}: no cache in this folder; make one with `boxpromptiml pseudomasks`") from None
        raise CacheError(f"{cache}: the cache is incomplete: {AGAIN}") from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CacheError(f"{path}: not a valid index ({error}); delete it and {AGAIN}") from None
    if index.stamp.schema != SCHEMA:
        raise CacheError(
            f"{path}: schema {index.stamp.schema}, but this version reads {SCHEMA}; delete the folder, or choose "
            "another one, and run `boxpromptiml pseudomasks` to make the cache again"
        )
    return index
