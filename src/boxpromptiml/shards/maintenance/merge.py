"""The command ``boxpromptiml cache merge``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from boxpromptiml.core.records import Stamp
from boxpromptiml.runtime.provenance import content_hash
from boxpromptiml.shards import CacheError, ShardReader
from boxpromptiml.shards.maintenance.derive import derive, read_settings

OWN = ("manifest", "splits", "shard_size", "config_hash", "merged", "pruned")
"""Settings in which caches may differ, because they select the images without affecting the masks."""


def merge(caches: list[Path], out: Path) -> int:
    """Merge caches made with the same settings from different images, for example on different machines.

    Every sample is verified and copied; the source caches are not changed. The new cache appears only when it is
    complete. If the manifests of several data sets use the same image ids, do not merge their caches: training accepts
    a list of caches.

    Args:
        caches: complete caches written by `boxpromptiml pseudomasks` with the same settings, except manifest, splits
            and shard_size.
        out: folder for the new cache.
    """
    if len(caches) < 2:
        raise CacheError("merging needs at least two caches, such as --caches '[first, second]'")
    readers = [ShardReader(cache) for cache in caches]
    settings = _common_settings(caches, [reader.index.stamp for reader in readers])
    _refuse_duplicates(readers)
    hashes = [reader.index.stamp.config_hash for reader in readers]
    stamp = replace(readers[0].index.stamp, config_hash=content_hash({"merged": hashes}))
    shards = [reader.cache / entry.name for reader in readers for entry in reader.index.shards]
    set_aside = [item for reader in readers for item in reader.index.set_aside]
    settings["merged"] = [str(cache) for cache in caches]
    index = derive(out, shards, lambda sample: True, stamp, set_aside, settings)
    print(f"{out}: {index.samples} samples in {len(index.shards)} shards")
    return 0


def _common_settings(caches: Sequence[Path], stamps: Sequence[Stamp]) -> dict[str, Any]:
    """Return the settings shared by all caches."""
    every = [{**read_settings(cache), **asdict(stamp)} for cache, stamp in zip(caches, stamps, strict=True)]
    for cache, settings in zip(caches[1:], every[1:], strict=True):
        for name in [*every[0], *settings]:
            if name not in OWN and settings.get(name) != every[0].get(name):
                raise CacheError(
                    f"{cache}: made with {name} {settings.get(name)}, but {caches[0]} with {every[0].get(name)}; "
                    "make one of them again, or train on a list of both instead"
                )
    return {name: value for name, value in every[0].items() if name not in OWN}


def _refuse_duplicates(readers: Sequence[ShardReader]) -> None:
    ids, counts = np.unique(np.concatenate([reader.image_ids for reader in readers]), return_counts=True)
    if (counts > 1).any():
        twice = ids[counts > 1][0]
        where = " and ".join(str(reader.cache) for reader in readers if twice in reader.image_ids)
        raise CacheError(
            f"{where}: both contain image {twice} ({(counts > 1).sum()} shared images in all); train on a list "
            "of the caches instead, or give the images unique ids with `boxpromptiml mixture`"
        )
