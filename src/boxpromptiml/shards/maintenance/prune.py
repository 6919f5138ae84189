"""The command ``boxpromptiml cache prune``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from boxpromptiml.core.limits import Share, within_limits
from boxpromptiml.core.text_decoding import decode_text
from boxpromptiml.runtime.provenance import content_hash
from boxpromptiml.shards import CacheError, ShardReader
from boxpromptiml.shards.maintenance.derive import derive, read_settings


@within_limits
def prune(
    cache: Path,
    out: Path,
    ids: list[int] | None = None,
    ids_file: Path | None = None,
    sources: list[str] | None = None,
    below: Share = 0.0,
) -> int:
    """Remove samples by id, by source, or by low confidence of the teacher.

    Writes a new cache; the old one is not changed. The new cache appears only when it is complete.

    Args:
        cache: complete cache written by `boxpromptiml pseudomasks`.
        out: folder for the new cache.
        ids: images to remove.
        ids_file: text file with one image id per line, to be removed as well.
        sources: remove the images of these data sets.
        below: remove images with a confidence below this, in [0, 1]; `boxpromptiml cache info` shows confidences.
    """
    reader = ShardReader(cache)
    unwanted = [*(ids or []), *(_read_ids(ids_file) if ids_file else [])]
    for name, wanted, there in (("image", unwanted, reader.image_ids), ("source", sources or [], reader.sources)):
        known = set(there.tolist())
        unknown = [value for value in wanted if value not in known]
        if unknown:
            raise CacheError(f"{cache}: has no {name} {unknown[0]}; see `boxpromptiml cache info`")
    drop = np.isin(reader.image_ids, unwanted) | np.isin(reader.sources, sources or []) | (reader.confidence < below)
    if drop.all() or not drop.any():
        which = "every" if len(drop) and drop.all() else "no"
        raise CacheError(f"{cache}: {which} sample would be removed; correct --ids_file, --ids, --sources or --below")
    dropped = set(reader.image_ids[drop].tolist())
    old = reader.index.stamp
    stamp = replace(old, config_hash=content_hash({"pruned": old.config_hash, "without": sorted(dropped)}))
    shards = [cache / entry.name for entry in reader.index.shards]
    settings = {**read_settings(cache), "pruned": {"cache": str(cache), "without": len(dropped)}}
    set_aside = reader.index.set_aside
    index = derive(out, shards, lambda sample: sample.image_id not in dropped, stamp, set_aside, settings)
    print(f"{out}: {index.samples} of {len(reader)} samples")
    return 0


def _read_ids(path: Path) -> Sequence[int]:
    try:
        return [int(line) for line in decode_text(path.read_bytes()).split()]
    except (OSError, ValueError) as error:
        raise CacheError(f"{path}: cannot be read ({error}); write one image id on each line") from None
