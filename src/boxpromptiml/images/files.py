"""Which files are images, and what a folder holds: its photos, what is passed over, and results of our own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, features

from boxpromptiml.images.errors import ImageError

WANTED = ("JPEG", "MPO", "PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000", "PPM", "AVIF")
"""Formats that photos come in. Pillow has parsers for others: one hands EPS files to Ghostscript, which runs them as
programs, some take any bytes for an image, and all of them are a stranger's way in."""
CODECS = {"JPEG": "jpg", "MPO": "jpg", "WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}
"""Format → the part of Pillow that decodes it, which a build may lack."""


def _decodable() -> tuple[str, ...]:
    Image.init()  # or only the commonest formats are known
    parsers = {*Image.OPEN, "MPO"}  # which the parser of JPEG opens
    return tuple(name for name in WANTED if name in parsers and (name not in CODECS or features.check(CODECS[name])))


FORMATS = _decodable()
"""What Pillow may take a file for, whatever its name: those of `WANTED` that the installed one decodes."""
IMAGE_SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)
"""Suffixes of those formats, by which files are found in a folder. Lower case, with the dot."""

UNSEEN = frozenset({"thumbs.db", "desktop.ini"})
"""What file managers leave behind; hidden files are not counted either."""
PREDICTED = ("masks", "overlays")
RECORDS = frozenset({"manifest.json", "annotation.json", "manifest.before-annotation.json", "synthesis.json"})
PICTURES = frozenset({"check", "audit", "robustness", "ablation"})
"""Reports whose PNG stands beside their JSON of the same name."""


@dataclass(frozen=True, slots=True)
class FolderContent:
    """What a folder and its subfolders hold.

    Attributes:
        folder: that was looked through.
        images: files with a suffix of `IMAGE_SUFFIXES`, in an order that does not depend on the file system.
        passed_over: how many others there are, by suffix or by what they are.
        results: pictures that commands of ours wrote, which are no photos.
    """

    folder: Path
    images: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    results: int = 0

    def remark(self) -> str:
        """What is not looked at, in one line; empty where there is nothing of the kind."""
        told = [named(self.passed_over)] if self.passed_over else []
        if self.results:
            told.append(f"{self.results:,} × result of boxpromptiml")
        return f"{self.folder}: not looked at: {', '.join(told)}" if told else ""


def list_images(folder: Path) -> list[Path]:
    """Every image file below a folder, by suffix, in an order that does not depend on the file system.

    Pictures that our own commands wrote are no photos. `look_through` also says what else there is.

    Raises:
        ImageError: the folder does not exist.
    """
    return look_through(folder).images


def look_through(folder: Path) -> FolderContent:
    """Sort out what a folder and its subfolders hold; links to folders are not followed.

    Raises:
        ImageError: the folder does not exist.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; name a folder of photos")
    found: list[Path] = []
    passed_over: Counter[str] = Counter()
    results = 0
    locked: list[OSError] = []
    inside_results: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=locked.append):
        ours = place in inside_results
        if not ours:
            ours = place != str(folder) and "synthesis.json" in names
            inside_results.update(os.path.join(place, name) for name in _result_folders(folders, names))
        if ours:
            inside_results.update(os.path.join(place, name) for name in folders)
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                passed_over["link to a folder"] += 1
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                if not ours and not _is_unseen(name, names):
                    passed_over[suffix_of(name)] += 1
            elif ours or _is_picture_of_ours(name, names):
                results += 1
            elif path.is_file():
                found.append(path)
            else:
                passed_over["broken link or no file"] += 1
    if locked:
        passed_over["folder that may not be read"] = len(locked)
    found.sort(key=lambda path: path.relative_to(folder).as_posix())
    return FolderContent(folder, found, passed_over, results)


def beside(listed: Iterable[Path]) -> Counter[str]:
    """How many files that are not listed lie in the folders of those that are, by suffix; subfolders do not count."""
    listed = {Path(os.path.abspath(path)) for path in listed}
    others: Counter[str] = Counter()
    for folder in sorted({path.parent for path in listed}):
        try:
            names = [entry.name for entry in os.scandir(folder) if not entry.is_dir()]
        except OSError:  # it is gone, which is said of its files
            continue
        unlisted = [name for name in names if folder / name not in listed]
        others.update(
            suffix_of(name) for name in unlisted if not _is_unseen(name, names) and not _is_picture_of_ours(name, names)
        )
    return others


def named(counts: Counter[str]) -> str:
    """Counts in words, the most frequent first: ``3 × .heic, 1 × .txt``."""
    return ", ".join(f"{count:,} × {what}" for what, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])))


def suffix_of(name: str) -> str:
    """A file's suffix in lower case, or words where it has none."""
    return Path(name).suffix.lower() or "without suffix"


def _result_folders(folders: Iterable[str], names: Iterable[str]) -> list[str]:
    """Which folders, of those beside some files, hold pictures that `predict`, `synthesize` or `prepare` wrote."""
    there = set(names)
    ours = {name.removesuffix(".json") + "-masks" for name in there if name.endswith(".json")}
    if there & {"predictions.jsonl", "predictions.settings.json"}:
        ours.update(PREDICTED)
    if "synthesis.json" in there:
        ours.add("masks")
    return [name for name in folders if name in ours]


def _is_unseen(name: str, beside_it: Iterable[str]) -> bool:
    return name.startswith(".") or name.lower() in UNSEEN or name in RECORDS


def _is_picture_of_ours(name: str, beside_it: Iterable[str]) -> bool:
    stem, suffix = os.path.splitext(name)
    if name.startswith(".") and ".partial" in name:  # of a command that was killed
        return True
    return suffix == ".png" and stem in PICTURES and f"{stem}.json" in beside_it
