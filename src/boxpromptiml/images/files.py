"""Finding images: supported formats, and the photos, other files and results of ours in a folder."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image, features

from boxpromptiml.images.errors import ImageError

WANTED = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000", "PPM", "AVIF")
"""Formats of photos. Pillow's other parsers are an attack surface: EPS files are executed by Ghostscript, and some
parsers accept any bytes."""
CODECS = {"JPEG": "jpg", "WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}
"""Format → Pillow feature that decodes it, which a build may lack."""
SAME_PARSER = {"MPO": "JPEG"}
"""Format → format whose parser reads it."""


def _decodable() -> tuple[str, ...]:
    Image.init()  # otherwise Pillow only knows the most common formats
    return tuple(n for n in WANTED if n in Image.OPEN and (n not in CODECS or features.check(CODECS[n])))


FORMATS = _decodable()
"""The formats in `WANTED` that the installed Pillow decodes. Files are identified by content, not by name."""
IMAGE_SUFFIXES = frozenset(
    suffix for suffix, name in Image.registered_extensions().items() if SAME_PARSER.get(name, name) in FORMATS
)
"""File suffixes of those formats, lower case with the dot; used to find files in a folder."""

UNSEEN = frozenset({"thumbs.db", "desktop.ini"})
"""Files of file managers; like hidden files, they are not counted."""
PREDICTED = ("masks", "overlays")
TRAINED = ("panels", "worst")
"""Folders of pictures that `fit` and `test` write, beside the checkpoints."""
WANDB_RUN = re.compile(r"(offline-)?run-\d{8}_\d{6}-\w+")
"""Name of a run's folder in W&B's folder, which contains the pictures that were logged."""
RECORDS = frozenset(
    {
        "manifest.json",
        "annotation.json",
        "manifest.before-annotation.json",
        "synthesis.json",
        "check.json",
        "check.settings.json",
        "audit.json",
        "audit.settings.json",
    }
    | {"predictions.json", "predictions.jsonl", "predictions.settings.json"}
)
"""Files that our commands write next to photos; not counted either."""
PICTURES = frozenset({"check", "audit", "robustness", "ablation"})
"""Names of reports that consist of a JSON file and a PNG."""


@dataclass(frozen=True, slots=True)
class FolderContent:
    """Contents of a folder and its subfolders.

    Attributes:
        folder: the folder.
        images: files with a suffix in `IMAGE_SUFFIXES`, in an order independent of the file system.
        passed_over: number of other files, by suffix or type.
        results: number of images written by our own commands, which are not photos.
    """

    folder: Path
    images: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    results: int = 0

    def remark(self) -> str:
        """Summarize the ignored files in one line; empty if there are none."""
        told = [named(self.passed_over)] if self.passed_over else []
        if self.results:
            told.append(f"{self.results:,} × result of boxpromptiml")
        return f"{self.folder}: ignored: {', '.join(told)}" if told else ""


def list_images(folder: Path) -> list[Path]:
    """List the image files below a folder by suffix, in an order independent of the file system.

    Images written by our own commands are omitted. `scan_folder` also reports the other files.

    Raises:
        ImageError: the folder does not exist.
    """
    return scan_folder(folder).images


def scan_folder(folder: Path) -> FolderContent:
    """Classify the files in a folder and its subfolders. Symbolic links to folders are not followed.

    Raises:
        ImageError: the folder does not exist.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; pass a folder of photos")
    found: list[Path] = []
    passed_over: Counter[str] = Counter()
    results = 0
    locked: list[OSError] = []
    inside_results: set[Path] = set()
    for name_of_place, folders, names in os.walk(folder, onerror=locked.append):
        place, there = Path(name_of_place), set(names)
        ours = place in inside_results or (place != folder and "synthesis.json" in there)
        inside_results.update(place / name for name in (folders if ours else _result_folders(folders, there)))
        passed_over["link to a folder"] += sum((place / name).is_symlink() for name in folders)
        for name in names:
            path = place / name
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                if not ours and not _is_unseen(name):
                    passed_over[suffix_of(name)] += 1
            elif ours or _is_picture_of_ours(name, there):
                results += 1
            elif path.is_file():
                found.append(path)
            else:
                passed_over["broken link or special file"] += 1
    if locked:
        passed_over["folder that cannot be read"] = len(locked)
    passed_over = +passed_over  # drops zero counts
    found.sort(key=lambda path: path.relative_to(folder).as_posix())
    return FolderContent(folder, found, passed_over, results)


def without_results(images: Iterable[Path], top: Path) -> list[Path]:
    """Drop images written by our own commands from files below a folder, as `scan_folder` does.

    Args:
        images: paths that start with ``top``.
        top: a folder; itself and its parents are never regarded as results.
    """

    @cache
    def inside(folder: Path) -> tuple[set[str], set[str]]:
        is_folder = {entry.name: entry.is_dir() for entry in os.scandir(folder)}
        return {name for name in is_folder if is_folder[name]}, {name for name in is_folder if not is_folder[name]}

    @cache
    def is_result(folder: Path) -> bool:
        if folder == top or not folder.is_relative_to(top):
            return False
        ours = "synthesis.json" in inside(folder)[1] or folder.name in _result_folders(*inside(folder.parent))
        return ours or is_result(folder.parent)

    return [p for p in images if not (is_result(p.parent) or _is_picture_of_ours(p.name, inside(p.parent)[1]))]


def beside(listed: Iterable[Path]) -> Counter[str]:
    """Count, by suffix, the unlisted files in the folders of listed files, without subfolders."""
    names_in: dict[Path, set[str]] = defaultdict(set)
    for path in listed:
        names_in[path.parent].add(path.name)
    by_folder: dict[Path, set[str]] = defaultdict(set)
    for folder, names in names_in.items():
        by_folder[folder.resolve()] |= names
    others: Counter[str] = Counter()
    for folder, names in by_folder.items():
        try:
            there = {entry.name for entry in os.scandir(folder) if not entry.is_dir()}
        except OSError:  # a missing folder is reported with its files
            continue
        others.update(
            suffix_of(name) for name in there - names if not _is_unseen(name) and not _is_picture_of_ours(name, there)
        )
    return others


def named(counts: Counter[str]) -> str:
    """Format counts, the largest first: ``3 × .heic, 1 × .txt``."""
    return ", ".join(f"{count:,} × {what}" for what, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])))


def suffix_of(name: str) -> str:
    """Return a file name's suffix in lower case, or ``without suffix``."""
    return Path(name).suffix.lower() or "without suffix"


def _result_folders(folders: Collection[str], there: set[str]) -> list[str]:
    """Select the folders of images written by our commands or by W&B, given all folders and files in one place."""
    ours = {name.removesuffix(".json") + "-masks" for name in there if name.endswith(".json")}
    if there & {"predictions.jsonl", "predictions.settings.json"}:
        ours.update(PREDICTED)
    if "synthesis.json" in there:
        ours.add("masks")
    if "fit.json" in there or "checkpoints" in folders:
        ours.update(TRAINED)
    return [name for name in folders if name in ours or WANDB_RUN.fullmatch(name)]


def _is_unseen(name: str) -> bool:
    return name.startswith(".") or name.lower() in UNSEEN or name in RECORDS


def _is_picture_of_ours(name: str, there: set[str]) -> bool:
    if name.startswith(".") and ".partial" in name:  # left by a command that was killed
        return True
    stem = name.removesuffix(".png")
    return stem in PICTURES and stem != name and f"{stem}.json" in there
