"""Pairing of images and masks by name, shared by all layouts.

Pairing by sorted order fails silently if a file is missing: every later image gets the mask of its neighbour.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import ListedImage, Unpaired
from boxpromptiml.images import list_images

DEPTH = 3
"""How many levels down folders are searched, because archives often unpack into nested folders."""
MAC_EXTRAS = "__MACOSX"
"""Folder in archives made on a Mac; its files have image suffixes but are not images."""


def stem(path: Path) -> str:
    """Return a file's name without its suffix."""
    return path.stem


def composed(name: str) -> str:
    """Return a name with composed accents; macOS stores decomposed ones, which look the same."""
    return unicodedata.normalize("NFC", name)


def pair(
    images: Sequence[Path],
    masks: Sequence[Path],
    mask_names: Callable[[Path], Sequence[str]],
    mask_name: Callable[[Path], str] = stem,
    group: Callable[[Path], str] = stem,
    kind: Callable[[Path], str | None] = lambda image: None,
    shared: bool = False,
) -> tuple[list[ListedImage | Unpaired], list[Unpaired]]:
    """Pair every image with the mask that matches its name.

    Args:
        images: manipulated images.
        masks: mask files.
        mask_names: possible mask names of an image.
        mask_name: name of a mask file, to be compared with them.
        group: function that returns the group of an image, see `ListedImage`.
        kind: function that returns the kind of an image, see `ListedImage`.
        shared: whether several images may share a mask.

    Returns:
        For each image, in order, an entry or why it has no mask; and the masks without image.
    """
    named: dict[str, list[Path]] = defaultdict(list)
    for mask in masks:
        named[composed(mask_name(mask))].append(mask)
    found = [[mask for name in mask_names(image) for mask in named.get(composed(name), [])] for image in images]
    taken = Counter(mask for partners in found for mask in partners)
    paired: list[ListedImage | Unpaired] = []
    for image, partners in zip(images, found, strict=True):
        reason = _reason_against(image, partners, mask_names(image), not shared and any(taken[m] > 1 for m in partners))
        paired.append(Unpaired(image, reason) if reason else ListedImage(image, partners[0], group(image), kind(image)))
    return paired, [Unpaired(mask, f"{mask}: a mask without an image") for mask in masks if mask not in taken]


def images_in(folder: Path | None, *without: Path | None) -> list[Path]:
    """List the image files below a folder, without extras of Mac archives.

    Args:
        folder: the folder; None has no files.
        without: folders whose files are left out where they lie inside ``folder``.

    Raises:
        ImageError: the folder does not exist.
    """
    if folder is None:
        return []
    inner = [other for other in without if other is not None and other != folder and other.is_relative_to(folder)]
    files = (path for path in list_images(folder) if path.name[0] != "." and MAC_EXTRAS not in path.parts)
    return [path for path in files if not any(path.is_relative_to(other) for other in inner)]


def find_folder(root: Path, *names: str) -> Path | None:
    """Return the outermost folder below ``root`` with one of the names, ignoring case; earlier names take precedence.

    Raises:
        InputError: the root is not a folder, or two such folders are at the same level.
    """
    for level in _levels(root):
        for name in names:
            hits = [path for path in level if path.name.lower() == name.lower()]
            if len(hits) > 1:
                raise InputError(
                    f"{root}: contains both {hits[0]} and {hits[1]}; pass the folder of one of them as the root"
                )
            if hits:
                return hits[0]
    return None


def homes(root: Path, own: Sequence[str], other: Sequence[str]) -> tuple[Path, bool]:
    """Return the folder of a data set that may lie beside a similar one, and whether the other one is there.

    Args:
        root: folder that contains one or both.
        own: possible names of the data set's folder, reduced to lower-case letters and digits.
        other: the same for the other data set.

    Returns:
        The data set's folder, or the root if no folder has such a name; and whether the other data set is present.

    Raises:
        InputError: the root is not a folder, or two folders of the data set are at the same level.
    """
    keys = {path.name: re.sub("[^a-z0-9]", "", path.name.lower()) for level in _levels(root) for path in level}
    home = find_folder(root, *(name for name, key in keys.items() if key in own))
    return home or root, any(key in other for key in keys.values())


def _levels(root: Path) -> Iterator[list[Path]]:
    """Yield the folders below a root, level by level."""
    if not root.is_dir():
        raise InputError(f"{root}: not a folder; pass the one that the data set was unpacked to")
    level = [root]
    for _ in range(DEPTH):
        level = sorted(path for folder in level for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
        level = [path for path in level if path.name != MAC_EXTRAS]
        yield level


def need_folder(root: Path, *names: str) -> Path:
    """Return the folder that `find_folder` finds.

    Raises:
        InputError: there is none.
    """
    folder = find_folder(root, *names)
    if folder is None:
        there = ", ".join(sorted(path.name for path in root.iterdir())[:6]) or "nothing"
        raise InputError(
            f"{root}: no folder {' or '.join(names)} here (found {there}); see data/README.md for the set's folders"
        )
    return folder


def untouched(images: Iterable[Path], group: Callable[[Path], str] = stem) -> list[ListedImage]:
    """Create entries for authentic images."""
    return [ListedImage(image, None, group(image)) for image in images]


def _reason_against(image: Path, partners: Sequence[Path], names: Sequence[str], contested: bool) -> str | None:
    if contested:
        return f"{image}: another image has the same mask, {partners[0].name}; rename or remove one of the two"
    if len(partners) > 1:
        found = ", ".join(mask.name for mask in partners)
        return f"{image}: more than one mask with that name ({found}); keep one"
    if not partners:
        return f"{image}: no mask named {' or '.join(names)}; add it, or move the image away"
    return None
