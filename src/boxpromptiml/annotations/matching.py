"""Finds the image that annotations mean by a name: by its relative path, else by the name that only it has."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

EXACT = 1_000_000
"""Rank of a match by the whole relative path, above any number of equal path parts."""


@dataclass(frozen=True, slots=True)
class Match:
    """What was found for an entry.

    Attributes:
        path: the image, or None.
        reason: why the entry cannot have it, or None.
        rank: number of folders above the file that agree.
    """

    path: Path | None
    reason: str | None = None
    rank: int = 0


class ImageFinder:
    """Knows images by their relative paths and by their file names, with their suffix and with ``.*`` for it.

    Args:
        root: folder that relative paths count from.
        paths: the images, all below the root.
    """

    def __init__(self, root: Path, paths: Iterable[Path]):
        self._root = root
        self._by_path: dict[str, list[Path]] = defaultdict(list)
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            relative = _spelt(path.relative_to(root))
            for key in (relative, _any_suffix(relative)):
                self._by_path[key].append(path)
                self._by_name[key.rsplit("/", 1)[-1]].append(path)

    def find_all(self, wanted: Sequence[tuple[str, ...]]) -> list[Match]:
        """The image of each entry of the annotations, which an entry may call by several names.

        Of entries with one image the one that spells its path most completely gets it, and two such get none.
        """
        found = [self._find(names) for names in wanted]
        ranks: dict[Path, list[int]] = defaultdict(list)
        for match in found:
            if match.path is not None:
                ranks[match.path].append(match.rank)
        return [match if match.path is None else self._settled(match, ranks[match.path]) for match in found]

    def _settled(self, match: Match, ranks: list[int]) -> Match:
        if match.rank < max(ranks):
            return self._nothing()
        if ranks.count(match.rank) > 1:
            return replace(match, reason=f"{ranks.count(match.rank)} entries are about this image; keep one")
        return match

    def _find(self, names: tuple[str, ...]) -> Match:
        spelt = [_spelt(PurePath(name.replace("\\", "/"))) for name in names]
        for name in spelt:
            whole = self._by_path.get(name, [])
            if len(whole) == 1:
                return Match(whole[0], rank=EXACT)
        answer = self._nothing()
        for name in spelt:
            namesakes = self._by_name.get(name.rsplit("/", 1)[-1], [])
            ranks = [_shared_folders(name, path) for path in namesakes]
            best = [path for path, rank in zip(namesakes, ranks, strict=True) if rank == max(ranks)]
            if len(best) == 1:
                return Match(best[0], rank=max(ranks))
            if best:
                reason = f"{best[0]} and {best[1]} could both be meant; name a narrower folder of images"
                answer = Match(None, reason)
        return answer

    def _nothing(self) -> Match:
        return Match(None, f"no image of that name in {self._root}; restore it, or take it out of the annotations")


def _spelt(path: PurePath) -> str:
    """One spelling for accents, which macOS stores in two characters and others in one."""
    return unicodedata.normalize("NFC", path.as_posix())


def _any_suffix(relative: str) -> str:
    return PurePath(relative).with_suffix(".*").as_posix()


def _shared_folders(name: str, path: Path) -> int:
    """How many folders above the file agree, counted from the file."""
    count = 0
    for a, b in zip(reversed(name.split("/")[:-1]), reversed(_spelt(path.parent).split("/")), strict=False):
        if a != b:
            break
        count += 1
    return count
