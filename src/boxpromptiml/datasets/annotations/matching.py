"""Finds the image that annotations mean by a name: by its relative path, else by the name that only it has.

Names are only compared with those of images that are there, and never opened. So a name may be a path of another
machine, with its drive or its way out of the folder, or an address.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from urllib.parse import unquote

from boxpromptiml.datasets.annotations.addresses import UPLOADED

Rank = tuple[bool, bool, int, int]
"""How well a name fits an image: taken literally, by the whole relative path, by which of several names (0 or below),
and by how many folders above the file. Larger is better."""
ROBOFLOW = re.compile(r"(.+)_([A-Za-z0-9]{2,5})\.rf\.[0-9A-Za-z]+(\.\w+|\.\*)")
"""What Roboflow makes of ``a.jpg``: ``a_jpg.rf.5f1c….jpg``."""


@dataclass(frozen=True, slots=True)
class Match:
    """What was found for an entry.

    Attributes:
        path: the image, or None.
        reason: why the entry cannot have it, or None.
        rank: how well the name fits.
    """

    path: Path | None
    reason: str | None = None
    rank: Rank = (False, False, 0, 0)


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
        ranks: dict[Path, list[Rank]] = defaultdict(list)
        for match in found:
            if match.path is not None:
                ranks[match.path].append(match.rank)
        return [match if match.path is None else self._settled(match, ranks[match.path]) for match in found]

    def _settled(self, match: Match, ranks: list[Rank]) -> Match:
        if match.rank < max(ranks):
            return self._nothing()
        if ranks.count(match.rank) > 1:
            return replace(match, reason=f"{ranks.count(match.rank)} entries are about this image; keep one")
        return match

    def _find(self, names: tuple[str, ...]) -> Match:
        literal = [_literal(name) for name in names]
        match = self._among(literal, True)
        if match.path is not None:
            return match
        meant = self._among([name for name in spellings(names) if name not in literal], False)
        return meant if meant.path is not None else match

    def _among(self, spelt: Sequence[str], literal: bool) -> Match:
        """The image of one of several names, the first of which goes before the others."""
        for place, name in enumerate(spelt):
            whole = self._by_path.get(name, [])
            if len(whole) == 1:
                return Match(whole[0], rank=(literal, True, -place, 0))
        answer = self._nothing()
        for place, name in enumerate(spelt):
            namesakes = self._by_name.get(name.rsplit("/", 1)[-1], [])
            ranks = [_shared_folders(name, path) for path in namesakes]
            best = [path for path, rank in zip(namesakes, ranks, strict=True) if rank == max(ranks)]
            if len(best) == 1:
                return Match(best[0], rank=(literal, False, -place, max(ranks)))
            if best:
                reason = f"{best[0]} and {best[1]} could both be meant; name a narrower folder of images"
                answer = Match(None, reason)
        return answer

    def _nothing(self) -> Match:
        return Match(None, f"no image of that name in {self._root}; restore it, or take it out of the annotations")


def spellings(names: tuple[str, ...]) -> list[str]:
    """What names may mean, the most literal first, with ``/`` between folders.

    After the names themselves come the path in an address, without its query, or in its ``d=``; ``%``-escapes undone; a
    name without its drive; and the names that files had before Label Studio or Roboflow changed them.
    """
    plain = [_literal(name) for name in names]
    meant: list[str] = []
    for name in plain:
        for path in dict.fromkeys([name, *_paths_in(name)]):
            meant += [path, unquote(path)]
    meant += [name[2:] for name in meant if name[1:2] == ":"]
    for path in list(meant):
        folder, slash, base = path.rpartition("/")
        uploaded, renamed = UPLOADED.fullmatch(base), ROBOFLOW.fullmatch(base)
        meant += [folder + slash + uploaded[1]] if uploaded else []
        meant += [f"{folder}{slash}{renamed[1]}.{renamed[2]}"] if renamed else []
    return list(dict.fromkeys([*plain, *(_spelt(PurePath(path)) for path in meant if path)]))


def _paths_in(name: str) -> list[str]:
    """The path of an address, and the file that its query names."""
    _, local, rest = name.partition("?d=")
    bare = re.split("[?#]", name, maxsplit=1)[0]
    return ([rest] if local else []) + [re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*:/+[^/]*/", "", bare)]


def _literal(name: str) -> str:
    return _spelt(PurePath(name.replace("\\", "/")))


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
