"""Search for pairs of 64-bit hashes with a small Hamming distance, without comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

BANDS = 5
"""Parts of a hash. Hashes that differ in d bits differ in at most d // BANDS bits of at least one part."""
AT_ONCE = 1 << 17
"""Number of candidate pairs compared at a time, so that they fit in the CPU cache."""

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.intp]


def near_pairs(queries: Hashes, targets: Hashes, limit: int) -> Pairs:
    """Find all pairs of a query and a target that differ in at most ``limit`` bits.

    Such a pair is nearly equal in at least one of `BANDS` parts, so only pairs with such a part are compared:
    multi-index hashing, Norouzi, Punjani and Fleet, CVPR 2012. If queries and targets are the same array, each pair is
    found in one order only, in half the time.

    Returns:
        (K, 2) indices of query and target, unique and sorted.
    """
    among_themselves = queries is targets
    found = [np.zeros((0, 2), np.intp)]
    for low, high in pairwise(np.linspace(0, 64, BANDS + 1).astype(int).tolist()):
        query_part, target_part = (
            ((hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)).astype(np.intp)
            for hashes in (queries, targets)
        )
        by_part, target_by_part = np.argsort(query_part), np.argsort(target_part)
        sorted_queries, sorted_targets, sorted_part = queries[by_part], targets[target_by_part], query_part[by_part]
        first = np.searchsorted(target_part[target_by_part], np.arange((1 << (high - low)) + 1))
        for flips in range(limit // BANDS + 1):
            for bits in combinations(range(high - low), flips):
                wanted = sorted_part ^ sum(1 << bit for bit in bits)
                end = first[wanted + 1]
                if among_themselves:
                    end = np.where(wanted >= sorted_part, end, first[wanted])
                for one, other in _all_in(first[wanted], end):
                    near = np.bitwise_count(sorted_queries[one] ^ sorted_targets[other]) <= limit
                    found.append(np.stack([by_part[one[near]], target_by_part[other[near]]], axis=1))
    pairs = np.concatenate(found)
    if among_themselves:
        pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def _all_in(first: Pairs, end: Pairs) -> Iterator[tuple[Pairs, Pairs]]:
    """Yield every row paired with each number from its ``first`` (inclusive) to its ``end`` (exclusive), in batches."""
    counts = end - first
    until = np.cumsum(counts)
    before = until - counts
    cuts = np.searchsorted(until, np.arange(0, counts.sum(), AT_ONCE), side="right")
    for start, stop in pairwise([*cuts.tolist(), len(counts)]):
        part = slice(start, stop)
        rows = np.repeat(np.arange(start, stop), counts[part])
        yield rows, np.arange(len(rows)) + np.repeat(first[part] - before[part] + before[start], counts[part])
