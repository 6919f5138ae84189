"""A cache folder: ``shard-RRR-NNNNN.h5`` files and ``index.json``, written last, so its presence means complete.

RRR is the process that wrote a shard, NNNNN the shard's place in the manifest's order.
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
    """A shard as the index lists it."""

    name: str
    samples: int


@dataclass(frozen=True, slots=True)
class CacheIndex:
    """What ``index.json`` says about a complete cache.

    Attributes:
        stamp: what produced every shard.
        shards: in the manifest's order.
        samples: in all shards together.
        set_aside: every image that could not be used.
        seconds: of computing, summed over processes and over interrupted runs.
        images_per_second: samples divided by seconds, so the speed of one process.
    """

    stamp: Stamp
    shards: list[ShardEntry]
    samples: int
    set_aside: list[SetAside]
    seconds: float
    images_per_second: float


def shard_paths(cache: Path) -> dict[int, Path]:
    """The shards of a folder by their place NNNNN in the manifest's order, whichever process wrote them."""
    places = {place_of(path): path for path in sorted(cache.glob("shard-*-*.h5"))}
    return dict(sorted(places.items()))


def place_of(path: Path) -> int:
    """NNNNN of a shard's name."""
    return int(path.stem.rsplit("-", 1)[1])


def index_of(shards: Sequence[Shard], stamp: Stamp, set_aside: Sequence[SetAside] = ()) -> CacheIndex:
    """The index over some shards, and over images that were refused before they reached a shard."""
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
    """Write ``index.json`` over all shards of a folder, which declares the cache complete.

    Args:
        cache: the folder.
        stamp: what every shard must have been produced by.
        set_aside: images that were refused before they reached a shard.

    Raises:
        CacheError: a shard is damaged or has another stamp, or the index cannot be written.
    """
    index = index_of([open_shard(path, stamp) for path in shard_paths(cache).values()], stamp, set_aside)
    try:
        write_json(cache / "index.json", msgspec.to_builtins(index))
    except OSError as error:
        raise CacheError(f"{cache}/index.json: cannot be written ({error.strerror}); make room, then {AGAIN}") from None
    return index


def read_index(cache: Path) -> CacheIndex:
    """Read the index of a complete cache.

    Raises:
        CacheError: there is no cache, it is incomplete, or the index is not one of this schema.
    """
    path = cache / "index.json"
    try:
        index = msgspec.json.decode(path.read_bytes(), type=CacheIndex)
    except FileNotFoundError:
        if not any(cache.glob("*.h5")):
            raise CacheError(f"{cache}: no cache here; make one with `boxpromptiml pseudomasks`") from None
        raise CacheError(f"{cache}: the cache is incomplete: {AGAIN}") from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CacheError(f"{path}: not an index ({error}); delete it and {AGAIN}") from None
    if index.stamp.schema != SCHEMA:
        raise CacheError(
            f"{path}: schema {index.stamp.schema}, but this version reads {SCHEMA}; delete the folder, or name another "
            "one, and run `boxpromptiml pseudomasks` to make the cache again"
        )
    return index
