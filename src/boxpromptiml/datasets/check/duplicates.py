"""Duplicate images, within a split and across splits, where they inflate the scores."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from boxpromptiml.core.records import Split
from boxpromptiml.datasets.check.findings import Finding, Limits, about
from boxpromptiml.datasets.check.measure import Entry
from boxpromptiml.datasets.check.perceptual import Fingerprint, look_alikes

RANK: dict[Split, int] = {"train": 0, "val": 1, "test": 2}
"""If a photo is in two splits, the image in the split with the lower rank is the one to drop."""


def same_photos(entries: Iterable[Entry], limits: Limits) -> list[list[Entry]]:
    """Group two or more images that show the same photo or are the same file. Unreadable images are left out."""
    by_file: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.facts.sha256:
            by_file[entry.facts.sha256].append(entry)
    labels = look_alikes([_looks(copies)[0] for copies in by_file.values()], limits.distance, limits.mirrored)
    groups: dict[int, list[Entry]] = defaultdict(list)
    for label, copies in zip(labels.tolist(), by_file.values(), strict=True):
        groups[label] += copies
    return [group for group in groups.values() if len(group) > 1]


def repeats(group: Sequence[Entry]) -> Iterator[Finding]:
    """Yield findings about images that show the same photo, at most one per image.

    Within a split an authentic image may accompany its forgery; across splits that is a leak.
    """
    rank = np.array([RANK[entry.record.split] for entry in group])
    authentic = np.array([entry.record.authentic for entry in group])
    file = np.unique([entry.facts.sha256 for entry in group], return_inverse=True)[1]
    upright, mirrored = (
        np.array([getattr(looks, name) for looks in _looks(group)], np.uint64) for name in ("phash", "mirrored")
    )
    for i, entry in enumerate(group):
        same_split, same_file, same_class = rank == rank[i], file == file[i], authentic == authentic[i]
        earlier = same_split & (np.arange(len(group)) < i)
        cases = {
            "leak": rank > rank[i],
            "contradiction": same_split & same_file & ~same_class,
            "duplicate": earlier & same_file,
            "near_duplicate": earlier & same_class,
        }
        for code, others in cases.items():
            if others.any():
                bits = np.bitwise_count(np.stack([upright, mirrored]) ^ upright[i]).astype(int)
                flipped, nearest = np.unravel_index(np.where(others, bits - same_file, 99).argmin(), bits.shape)
                other = group[int(nearest)].record
                how = f"{bits[flipped, nearest]} of 64 bits differ" + (", mirrored" if flipped else "")
                text = "the same file as" if same_file[nearest] else f"the same photo ({how}) as"
                where = f" of {other.split}" if code == "leak" else ""
                yield about(entry, code, f"{text} {other.path}{where}", str(other.path))
                break


def twins(groups: Iterable[Sequence[Entry]]) -> Counter[Split]:
    """Count, by split, the authentic images with a forgery of the same photo in the split."""
    found: Counter[Split] = Counter()
    for group in groups:
        forged = {entry.record.split for entry in group if not entry.record.authentic}
        found.update(entry.record.split for entry in group if entry.record.authentic and entry.record.split in forged)
    return found


def _looks(entries: Iterable[Entry]) -> list[Fingerprint]:
    return [entry.facts.fingerprint for entry in entries if entry.facts.fingerprint is not None]
