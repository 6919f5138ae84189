"""Exports to a folder: written atomically, never replacing other files unasked, with images linked or copied."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import msgspec

from boxpromptiml.core.atomic_files import atomic_folder
from boxpromptiml.datasets.annotations.drawn import AnnotationError
from boxpromptiml.runtime.provenance import OtherResultsError, file_sha256, write_json

LISTING = ".exported.json"
"""File in an export's folder that lists its files, which a later export may replace."""


@contextmanager
def export_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """Write an export into a temporary folder, which takes its final name when it is complete.

    The rule of `provenance.write_results` applies: an existing export with the same content is kept; one with different
    content is replaced file by file if ``overwrite`` is set. Other files in the folder are not touched.

    Args:
        out: a new folder, an empty one, or one with an earlier export.
        overwrite: replace files with different content, and print their names.

    Raises:
        AnnotationError: ``out`` exists and is not an export.
        OtherResultsError: ``out`` holds a different export and ``overwrite`` is False.
    """
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / LISTING).is_file())):
        raise AnnotationError(f"{out}: already exists and is neither empty nor an earlier export; choose a new folder")
    if not (out / LISTING).is_file():
        with atomic_folder(out) as partial:
            yield partial
            write_json(partial / LISTING, _files(partial))
        return
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        partial = Path(name)
        yield partial
        write_json(partial / LISTING, _files(partial))
        _replace(out, partial, overwrite)


def _replace(out: Path, partial: Path, overwrite: bool) -> None:
    """Move the new files of an export over those of an earlier one where they differ."""
    new, old = _files(partial), _listed(out)
    different = [name for name in dict.fromkeys([*old, *new]) if _content(out / name) != _content(partial / name)]
    if different and not overwrite:
        raise OtherResultsError(
            f"{out}: contains another export ({different[0]} differs); choose another folder, or replace it with "
            "--overwrite"
        )
    for name in different:
        if os.path.lexists(out / name):
            print(f"replaced: {out / name}")
            (out / name).unlink()
        if name in new:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).replace(out / name)
    if different:
        (partial / LISTING).replace(out / LISTING)


def _files(folder: Path) -> list[str]:
    """List the files and links below a folder, except the listing."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for path in files if (name := path.relative_to(folder).as_posix()) != LISTING)


def _listed(out: Path) -> list[str]:
    """Read the file names that an export lists, dropping any outside its folder."""
    try:
        names = msgspec.json.decode((out / LISTING).read_bytes(), type=list[str])
    except (OSError, msgspec.MsgspecError) as error:
        raise AnnotationError(f"{out / LISTING}: not a list of files ({error}); choose a new folder") from None
    return [name for name in names if not (PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts)]


def _content(path: Path) -> str | None:
    """Return the target of a link, the hash of a file, or None if there is neither."""
    if path.is_symlink():
        return str(path.readlink())
    return file_sha256(path) if path.is_file() else None


def refuse_shared_names(relatives: Iterable[PurePosixPath]) -> None:
    """Reject images whose paths differ only in the suffix, because the export's label files have no such suffix.

    Raises:
        AnnotationError: two paths are the same without suffix.
    """
    counts = Counter(relative.with_suffix("") for relative in relatives)
    shared = [name for name, count in counts.items() if count > 1]
    if shared:
        raise AnnotationError(f"{shared[0]}: two images would get this name; rename one")


def place_image(source: Path, target: Path, copy: bool) -> None:
    """Add an image to an export, as a relative link or as a copy.

    Raises:
        AnnotationError: the image does not exist, or the file system does not support links.
    """
    if not source.is_file():
        raise AnnotationError(f"{source}: no such file; restore it or remove it from the manifest")
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy:
        shutil.copyfile(source, target)
        return
    try:
        target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
    except OSError as error:  # no permission on Windows, or a FAT file system
        raise AnnotationError(
            f"{target}: the link could not be created ({error.strerror}); use --copy_images"
        ) from None
