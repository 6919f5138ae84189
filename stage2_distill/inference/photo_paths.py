"""Resolution of the photos given to `predict`, and names for their results."""

from __future__ import annotations

import glob
from collections import Counter
from pathlib import Path, PurePosixPath

from boxpromptiml.core.records import InputError
from boxpromptiml.core.text_decoding import decode_text
from boxpromptiml.images import IMAGE_SUFFIXES, FolderContent, scan_folder
from boxpromptiml.images.files import suffix_of, without_results


def photo_names(given: list[Path]) -> tuple[dict[Path, str], list[str]]:
    """List photos in the given order, each with the name of its results.

    The name is the photo's path relative to the given folder, without suffix if that is unique.

    Args:
        given: photos, folders of photos, patterns such as ``photos/**/*.jpg``, and ``.txt`` files with one path per
            line.

    Returns:
        Photo → name, and remarks about other files that are ignored.

    Raises:
        InputError: there is no photo, or two would have the same name.
    """
    files: dict[Path, PurePosixPath] = {}
    remarks: list[str] = []
    for path in given:
        found, remark = _photos(path)
        remarks += [remark] if remark else []
        for file, relative in found.items():
            files.setdefault(file, relative)
    if not files:
        seen = f" ({'; '.join(remarks)})" if remarks else ""
        raise InputError(f"{', '.join(map(str, given))}: no photo found{seen}; pass photo files or folders of photos")
    stems = Counter(relative.with_suffix("") for relative in files.values())
    unique = {f: r if stems[r.with_suffix("")] > 1 else r.with_suffix("") for f, r in files.items()}
    names = {file: printable(relative.as_posix()) for file, relative in unique.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise InputError(f"two photos would both be written as {twice[0]}; process their folders in separate runs")
    return names, remarks


def printable(text: str) -> str:
    """Make a file name valid UTF-8: invalid bytes become backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _photos(given: Path) -> tuple[dict[Path, PurePosixPath], str]:
    """Resolve one argument to photos, with a remark about ignored files."""
    if given.is_dir():
        content = scan_folder(given)
        return {file: _below(given, file) for file in content.images}, content.remark()
    if given.suffix.lower() == ".txt" and given.is_file():
        lines = decode_text(given.read_bytes(), errors="surrogateescape").splitlines()
        return {Path(line): PurePosixPath(Path(line).name) for line in map(str.strip, lines) if line}, ""
    if given.exists() or not glob.has_magic(str(given)):
        return {given: PurePosixPath(given.name)}, ""
    plain = next(i for i, part in enumerate(given.parts) if glob.has_magic(part))
    found = sorted(Path(path) for path in glob.glob(str(given), recursive=True))  # noqa: PTH207 (given may be absolute)
    files = [path for path in found if path.is_file()]
    others = Counter(suffix_of(path.name) for path in files if path.suffix.lower() not in IMAGE_SUFFIXES)
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    top = Path(*given.parts[:plain])
    photos = without_results(images, top)
    remark = FolderContent(given, photos, others, len(images) - len(photos)).remark()
    return {path: _below(top, path) for path in photos}, remark


def _below(folder: Path, file: Path) -> PurePosixPath:
    """Return a file's path relative to a folder, or its bare name if it lies outside, so that results stay inside."""
    relative = file.relative_to(folder)
    return PurePosixPath(file.name) if ".." in relative.parts else PurePosixPath(relative)
