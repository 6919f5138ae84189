"""Exports that are a folder: it appears whole or not at all, replaces nothing unasked, and holds links or copies."""

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
"""Names the files of an export, in its folder: what a later one may replace there."""


@contextmanager
def export_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write an export into, which takes its place when all of it is written.

    The rule of `provenance.write_results` holds: an export of the same content stays as it is, and one of other content
    is only replaced when asked, file by file. What else lies in its folder is left alone.

    Args:
        out: a new folder, an empty one, or one with an earlier export.
        overwrite: replace the files of an export with other content, and say which.

    Raises:
        AnnotationError: something that is no export is in the way.
        OtherResultsError: there is an export of other content, and it is not to be replaced.
    """
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / LISTING).is_file())):
        raise AnnotationError(f"{out}: is there, and neither an empty folder nor an export; name a new one")
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
    """Put the files of an export where they differ from those of an earlier one."""
    new, old = _files(partial), _listed(out)
    different = [name for name in dict.fromkeys([*old, *new]) if _content(out / name) != _content(partial / name)]
    if different and not overwrite:
        raise OtherResultsError(
            f"{out}: holds another export ({different[0]} differs); name another folder, or replace it with "
            "--overwrite true"
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
    """Names of the files and links below a folder, but for the listing."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for path in files if (name := path.relative_to(folder).as_posix()) != LISTING)


def _listed(out: Path) -> list[str]:
    """Names that an export lists, of files in its own folder."""
    try:
        names = msgspec.json.decode((out / LISTING).read_bytes(), type=list[str])
    except (OSError, msgspec.MsgspecError) as error:
        raise AnnotationError(f"{out / LISTING}: is no list of files ({error}); name a new folder") from None
    return [name for name in names if not (PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts)]


def _content(path: Path) -> str | None:
    """What tells one file from another: where a link leads, or a hash; None where there is nothing."""
    if path.is_symlink():
        return str(path.readlink())
    return file_sha256(path) if path.is_file() else None


def refuse_shared_names(relatives: Iterable[PurePosixPath]) -> None:
    """Refuse images that an export could not keep apart, because it drops their suffixes.

    Raises:
        AnnotationError: two paths are the same without suffix.
    """
    counts = Counter(relative.with_suffix("") for relative in relatives)
    shared = [name for name, count in counts.items() if count > 1]
    if shared:
        raise AnnotationError(f"{shared[0]}: two images could not be told apart by this name; rename one")


def place_image(source: Path, target: Path, copy: bool) -> None:
    """Put an image into an export, as a relative link or as a copy.

    Raises:
        AnnotationError: there is no such image, or the file system cannot link.
    """
    if not source.is_file():
        raise AnnotationError(f"{source}: no such file; restore it or take it out of the manifest")
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy:
        shutil.copyfile(source, target)
        return
    try:
        target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
    except OSError as error:  # Windows without the right to link, or a FAT disk
        raise AnnotationError(f"{target}: cannot be a link ({error.strerror}); use --copy_images true") from None
