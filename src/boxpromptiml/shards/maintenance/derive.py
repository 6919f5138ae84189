"""Creation of a cache from existing ones, which are not changed. The new folder is written atomically."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from boxpromptiml.core.atomic_files import atomic_folder
from boxpromptiml.core.records import Sample, SetAside, Stamp
from boxpromptiml.runtime.provenance import write_json
from boxpromptiml.shards import CacheError, CacheIndex, open_shard, read_shard, write_index, write_shard

SETTINGS = "settings.json"


def derive(
    out: Path,
    shards: Sequence[Path],
    keep: Callable[[Sample], bool],
    stamp: Stamp,
    set_aside: Sequence[SetAside],
    settings: dict[str, Any],
) -> CacheIndex:
    """Write a new cache from selected samples of some shards, whose checksums are verified.

    Args:
        out: folder for the new cache, which must not exist or be empty.
        shards: source shards, in order.
        keep: predicate that selects samples.
        stamp: what produced the new cache.
        set_aside: skipped images of the source caches.
        settings: content of the new cache's settings.json.

    Raises:
        CacheError: ``out`` is not empty, a shard is damaged, or the cache cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CacheError(f"{out}: already exists; choose a new folder for --out")
    try:
        with atomic_folder(out) as partial:
            listed: set[SetAside] = set()
            for place, path in enumerate(tqdm(shards, unit=" shards")):
                samples, own = read_shard(path, None)
                listed.update(own)
                kept = [sample for sample in samples if keep(sample)]
                write_shard(partial / f"shard-000-{place:05d}.h5", kept, own, stamp, open_shard(path, None).seconds)
            write_json(partial / SETTINGS, settings)
            return write_index(partial, stamp, [item for item in set_aside if item not in listed])
    except OSError as error:
        raise CacheError(f"{out}: cannot be written ({error.strerror}); free space or choose another --out") from None


def read_settings(cache: Path) -> dict[str, Any]:
    """Read the settings that a cache was made with.

    Raises:
        CacheError: the file is missing or damaged.
    """
    try:
        return dict(json.loads((cache / SETTINGS).read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError) as error:
        raise CacheError(
            f"{cache / SETTINGS}: cannot be read ({error}); run the same `boxpromptiml pseudomasks` command again"
        ) from None
