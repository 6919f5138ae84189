"""The command ``boxpromptiml cache info``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.shards import ShardReader


def info(cache: Path) -> int:
    """Show the content of a cache: samples by source, split and kind, the teacher's confidence, sizes, provenance.

    Args:
        cache: complete cache written by `boxpromptiml pseudomasks`.
    """
    reader = ShardReader(cache)
    index = reader.index
    size = sum((cache / entry.name).stat().st_size for entry in index.shards)
    kinds = np.where(reader.authentic, "authentic", np.where(reader.kinds == "", "unknown", reader.kinds))
    rows_of: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for row, group in enumerate(zip(reader.sources.tolist(), reader.splits.tolist(), kinds.tolist(), strict=True)):
        rows_of[group].append(row)
    width = max([len("source"), *map(len, reader.sources)])
    print(f"{'source':<{width}}  split  {'kind':<10}  samples  confidence: mean  lowest tenth below")
    for (source, split, kind), rows in sorted(rows_of.items()):
        print(f"{source:<{width}}  {split:<5}  {kind:<10}  {len(rows):7d}  {_shown(reader.confidence[rows])}")
    print(f"{'all':<{width}}  {'':<5}  {'':<10}  {len(reader):7d}  {_shown(reader.confidence)}")
    print()
    print(f"{len(index.shards)} shards, {size / 1e6:,.1f} MB, {size / max(1, len(reader)):,.0f} bytes a sample")
    print(f"{len(index.set_aside)} images skipped; {index.seconds:,.0f} s of computing")
    stamp = index.stamp
    print(
        f"size {stamp.size}, teacher {stamp.teacher}, weights {stamp.weights_sha256[:16] or 'none'}, "
        f"config {stamp.config_hash}, schema {stamp.schema}, boxpromptiml {stamp.package_version}"
    )
    return 0


def _shown(confidence: NDArray[np.float32]) -> str:
    if not len(confidence):
        return f"{'-':>16}  {'-':>18}"
    return f"{confidence.mean():16.3f}  {np.quantile(confidence, 0.1):18.3f}"
