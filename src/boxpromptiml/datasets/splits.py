"""Random splits that keep all images of an original photo together.

The paper's lists are not published. We select training and test images ourselves, in the paper's numbers.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable

import numpy as np

from boxpromptiml.core.limits import Seed, ShareBelowOne, within_limits
from boxpromptiml.datasets.layout import ListedImage


def draw_groups(entries: Iterable[ListedImage], wanted: int, seed: int) -> set[str]:
    """Draw the groups of a test set with this number of manipulated images, or as close to it as whole groups allow.

    Groups are taken in shuffled order. Groups with authentic images only are drawn in proportion.

    Args:
        entries: usable images of a data set.
        wanted: number of manipulated images to draw.
        seed: random seed for the draw.
    """
    sizes: Counter[str] = Counter()
    for entry in entries:
        sizes[entry.group] += entry.mask is not None
    rng = np.random.default_rng([seed, zlib.crc32(b"test")])
    manipulated = sorted(group for group, size in sizes.items() if size)
    rng.shuffle(manipulated)
    drawn = _exact_sum({group: sizes[group] for group in manipulated}, wanted)
    share = sum(sizes[group] for group in drawn) / max(1, sizes.total())
    return drawn | {group for group, size in sorted(sizes.items()) if not size and rng.random() < share}


@within_limits
def in_val(group: str, val_share: ShareBelowOne, seed: Seed) -> bool:
    """Return whether a group belongs to the validation split, independently of all other groups.

    Raises:
        InputError: the fraction is below 0, or 1 or more.
    """
    return bool(np.random.default_rng([seed, zlib.crc32(group.encode()), 1]).random() < val_share)


def _exact_sum(sizes: dict[str, int], wanted: int) -> set[str]:
    """Select keys, preferring early ones, whose sizes sum to ``wanted`` or to the nearest reachable sum."""
    reachable = [1]  # bit s of reachable[n] is set if some of the first n sizes sum to s
    for size in sizes.values():
        reachable.append(reachable[-1] | reachable[-1] << size)
    total = min((s for s in range(sum(sizes.values()) + 1) if reachable[-1] >> s & 1), key=lambda s: abs(s - wanted))
    chosen: set[str] = set()
    for before, (key, size) in reversed(list(zip(reachable, sizes.items(), strict=False))):
        if not before >> total & 1:
            chosen.add(key)
            total -= size
    return chosen
