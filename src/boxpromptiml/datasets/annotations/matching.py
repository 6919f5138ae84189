"""Matching of names in annotations to image files: by relative path, or by a unique file name.

Names are only compared with existing images and never opened. They may therefore be paths of another machine, with
drives or ``..``, or URLs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from urllib.parse import unquote

from boxpromptiml.datasets.annotations.image_urls import UPLOADED
from boxpromptiml.datasets.pairing import composed

Rank = tuple[bool, bool, int, int]
"""How well a name matches an image, larger is better: taken literally, whole relative path, index among several names
(0 or below), number of matching parent folders."""
ROBOFLOW = re.compile(r"(.+)_([A-Za-z0-9]{2,5})\.rf\.[0-9A-Za-z]+(\.\w+|\.\*)")
"""Roboflow renames ``a.jpg`` to ``a_jpg.rf.5f1c….jpg``."""


@dataclass(frozen=True, slots=True)
class Match:
    """Result of the search for an annotated image.

    Attributes:
        path: the image file, or None.
        reason: why it cannot be used, or None.
        rank: how well the name matches.
    """

    path: Path | None
    reason: str | None = None
    rank: Rank = (False, False, 0, 0)


class ImageFinder:
    """Index of images by relative path and by file name, each with its suffix and with ``.*``.

    Args:
        root: folder that relative paths start from.
        paths: images below the root.
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
        """Find the image of each annotated image, given its possible names.

        If several match the same image, the best match gets it; equally good matches get an error.
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
            return replace(match, reason=f"{ranks.count(match.rank)} entries refer to this image; keep one")
        return match

    def _find(self, names: tuple[str, ...]) -> Match:
        literal = [_literal(name) for name in names]
        match = self._among(literal, True)
        if match.path is not None:
            return match
        meant = self._among([name for name in spellings(names) if name not in literal], False)
        return meant if meant.path is not None else match

    def _among(self, spelt: Sequence[str], literal: bool) -> Match:
        """Find an image by one of several names, the first of which takes precedence."""
        for place, name in enumerate(spelt):
            whole = self._by_path.get(name, [])
            if len(whole) == 1:
                return Match(whole[0], rank=(literal, True, -place, 0))
        outcome = self._nothing()
        for place, name in enumerate(spelt):
            namesakes = self._by_name.get(name.rsplit("/", 1)[-1], [])
            ranks = [_shared_folders(name, path) for path in namesakes]
            best = [path for path, rank in zip(namesakes, ranks, strict=True) if rank == max(ranks)]
            if len(best) == 1:
                return Match(best[0], rank=(literal, False, -place, max(ranks)))
            if best:
                reason = f"it could be {best[0]} or {best[1]}; pass a narrower folder with --images"
                outcome = Match(None, reason)
        return outcome

    def _nothing(self) -> Match:
        return Match(None, f"no image with that name in {self._root}; restore it, or remove it from the annotations")


def spellings(names: tuple[str, ...]) -> list[str]:
    """Return the possible meanings of names, the most literal first, with ``/`` as separator.

    After the names themselves follow the path of a URL without its query, or its ``d=``; the name with ``%``-escapes
    decoded; without its drive; and the original names of files that Label Studio or Roboflow renamed.
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
    """Return the path of a URL, and the file named by its query."""
    _, local, rest = name.partition("?d=")
    bare = re.split("[?#]", name, maxsplit=1)[0]
    return ([rest] if local else []) + [re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*:/+[^/]*/", "", bare)]


def _literal(name: str) -> str:
    return _spelt(PurePath(name.replace("\\", "/")))


def _spelt(path: PurePath) -> str:
    """Normalize accents, which macOS stores as two code points and other systems as one."""
    return composed(path.as_posix())


def _any_suffix(relative: str) -> str:
    return PurePath(relative).with_suffix(".*").as_posix()


def _shared_folders(name: str, path: Path) -> int:
    """Count the matching parent folders, starting from the file."""
    count = 0
    for a, b in zip(reversed(name.split("/")[:-1]), reversed(_spelt(path.parent).split("/")), strict=False):
        if a != b:
            break
        count += 1
    return count
