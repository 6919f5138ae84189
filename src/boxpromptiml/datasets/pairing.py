"""Images and masks matched by name and never by order, for all layouts.

Pairing by sorted order goes wrong silently when one file is missing: every later image gets its neighbour's mask.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import ListedImage, Unpaired
from boxpromptiml.images import list_images

DEPTH = 3
"""Archives unpack into a folder or two of their own, so folders are looked for this many levels down."""
MAC_EXTRAS = "__MACOSX"
"""Folder of an archive made on a Mac; the files inside only look like images."""


def stem(path: Path) -> str:
    """A file's name without its suffix."""
    return path.stem


def pair(
    images: Sequence[Path],
    masks: Sequence[Path],
    mask_names: Callable[[Path], Sequence[str]],
    mask_name: Callable[[Path], str] = stem,
    group: Callable[[Path], str] = stem,
    kind: Callable[[Path], str | None] = lambda image: None,
    shared: bool = False,
) -> tuple[list[ListedImage | Unpaired], list[Unpaired]]:
    """Give every image the one mask that its name asks for.

    Args:
        images: manipulated images.
        masks: mask files.
        mask_names: the names that an image's mask may have.
        mask_name: the name of a mask file that is compared with them.
        group: of an image, see `ListedImage`.
        kind: of an image, see `ListedImage`.
        shared: several images may have one mask.

    Returns:
        An entry for each image, or why it has none, in the images' order; and the masks that no image asks for.
    """
    named: dict[str, list[Path]] = defaultdict(list)
    for mask in masks:
        named[mask_name(mask)].append(mask)
    found = [[mask for name in mask_names(image) for mask in named.get(name, [])] for image in images]
    taken = Counter(mask for partners in found for mask in partners)
    paired: list[ListedImage | Unpaired] = []
    for image, partners in zip(images, found, strict=True):
        reason = _reason_against(image, partners, mask_names(image), not shared and any(taken[m] > 1 for m in partners))
        paired.append(Unpaired(image, reason) if reason else ListedImage(image, partners[0], group(image), kind(image)))
    return paired, [Unpaired(mask, f"{mask}: a mask without an image") for mask in masks if mask not in taken]


def images_in(folder: Path | None, outside: Path | None = None) -> list[Path]:
    """The image files below a folder, if there is one, without those below another and without extras of Mac archives.

    Raises:
        ImageError: the folder does not exist.
    """
    if folder is None:
        return []
    files = (path for path in list_images(folder) if path.name[0] != "." and MAC_EXTRAS not in path.parts)
    return [path for path in files if outside is None or not path.is_relative_to(outside)]


def find_folder(root: Path, *names: str) -> Path | None:
    """The outermost folder below ``root`` with one of the names, whatever their case; the first name wins.

    Raises:
        InputError: the root is no folder, or two folders of that name are equally deep.
    """
    for level in _levels(root):
        for name in names:
            hits = [path for path in level if path.name.lower() == name.lower()]
            if len(hits) > 1:
                raise InputError(f"{root}: holds {hits[0]} and {hits[1]}; name the folder of one of them as the root")
            if hits:
                return hits[0]
    return None


def homes(root: Path, own: Sequence[str], other: Sequence[str]) -> tuple[Path, bool]:
    """The folder of a set that may lie beside another with folders of the same names, and whether it does.

    Args:
        root: folder above one or both.
        own: what the set's folder may be called, in small letters and digits.
        other: the same of the other set.

    Returns:
        The set's folder, or the root where none is called so; and whether the other set is there, too.

    Raises:
        InputError: the root is no folder, or two folders of the set are equally deep.
    """
    keys = {path.name: re.sub("[^a-z0-9]", "", path.name.lower()) for level in _levels(root) for path in level}
    home = find_folder(root, *(name for name, key in keys.items() if key in own))
    return home or root, any(key in other for key in keys.values())


def _levels(root: Path) -> Iterator[list[Path]]:
    """The folders below a root, level by level."""
    if not root.is_dir():
        raise InputError(f"{root}: not a folder; name the one that the data set was unpacked to")
    level = [root]
    for _ in range(DEPTH):
        level = sorted(path for folder in level for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
        level = [path for path in level if path.name != MAC_EXTRAS]
        yield level


def need_folder(root: Path, *names: str) -> Path:
    """The folder that `find_folder` finds.

    Raises:
        InputError: there is none.
    """
    folder = find_folder(root, *names)
    if folder is None:
        there = ", ".join(sorted(path.name for path in root.iterdir())[:6]) or "nothing"
        raise InputError(
            f"{root}: no folder {' or '.join(names)} here (found {there}); data/README.md shows the set's folders"
        )
    return folder


def untouched(images: Iterable[Path], group: Callable[[Path], str] = stem) -> list[ListedImage]:
    """Entries of authentic images."""
    return [ListedImage(image, None, group(image)) for image in images]


def _reason_against(image: Path, partners: Sequence[Path], names: Sequence[str], contested: bool) -> str | None:
    if contested:
        return f"{image}: another image asks for the same mask, {partners[0].name}; rename or remove one of the two"
    if len(partners) > 1:
        found = ", ".join(mask.name for mask in partners)
        return f"{image}: more than one mask of that name ({found}); keep one"
    if not partners:
        return f"{image}: no mask named {' or '.join(names)}; add it, or move the image away"
    return None
