"""Which photos are meant, and what their results are called."""

from __future__ import annotations

import glob
from collections import Counter
from pathlib import Path, PurePosixPath

from boxpromptiml.images import IMAGE_SUFFIXES, list_images
from boxpromptiml.records import InputError


def photo_names(given: list[Path]) -> dict[Path, str]:
    """Photos in the order they were named, each with the name of its results, relative to a folder for them.

    That name is the photo's path below the folder that was named, without the suffix if that is free.

    Args:
        given: photos, folders that hold some, patterns such as ``photos/**/*.jpg``, and ``.txt`` files with a path on
            each line.

    Raises:
        InputError: there is no photo, or two would have the same name.
    """
    files: dict[Path, PurePosixPath] = {}
    for each in given:
        for file, relative in _photos(each).items():
            files.setdefault(file, relative)
    if not files:
        raise InputError(f"{', '.join(map(str, given))}: no photo found; name photo files or folders of photos")
    stems = Counter(relative.with_suffix("") for relative in files.values())
    unique = {f: r if stems[r.with_suffix("")] > 1 else r.with_suffix("") for f, r in files.items()}
    names = {file: printable(relative.as_posix()) for file, relative in unique.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise InputError(f"two photos would both be written as {twice[0]}; give their folders in separate runs")
    return names


def printable(text: str) -> str:
    """Text about files that UTF-8 can hold: bytes of a name that are no UTF-8 become a backslash and a number."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _photos(given: Path) -> dict[Path, PurePosixPath]:
    if given.is_dir():
        return {file: _below(given, file) for file in list_images(given)}
    if given.suffix.lower() == ".txt" and given.is_file():
        lines = given.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        return {Path(line): PurePosixPath(Path(line).name) for line in map(str.strip, lines) if line}
    if given.exists() or not glob.has_magic(str(given)):
        return {given: PurePosixPath(given.name)}
    plain = next(i for i, part in enumerate(given.parts) if glob.has_magic(part))
    found = sorted(Path(path) for path in glob.glob(str(given), recursive=True))  # noqa: PTH207 (given may be absolute)
    photos = (path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return {path: _below(Path(*given.parts[:plain]), path) for path in photos}


def _below(folder: Path, file: Path) -> PurePosixPath:
    """Path of a file below a folder; its bare name where a pattern leads out of it, so that results stay inside."""
    relative = file.relative_to(folder)
    return PurePosixPath(file.name) if ".." in relative.parts else PurePosixPath(relative)
