"""Files that appear whole or not at all, whenever a reader looks and however the writing ended."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to; it takes that name at the end of the block, or vanishes after an error.

    Its content is on the disk before it takes the name, so that a power cut leaves the old file or the new one. A link
    that somebody put in either place is replaced, never followed. Folders above are made.

    Yields:
        ``.NAME.partial`` in the same folder, which does not exist. Libraries that choose a format by the suffix have to
        be told the format.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    partial.unlink(missing_ok=True)  # of a run that was killed
    try:
        yield partial
        move_into_place(partial, path)
    except BaseException:
        with suppress(OSError):  # a disk that has become read-only
            partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file by `atomic_path`."""
    with atomic_path(path) as partial, partial.open("xb") as stream:
        stream.write(content)


def move_into_place(partial: Path, path: Path) -> None:
    """Give a finished file its name, after its content has reached the disk."""
    with partial.open("r+b") as stream:  # Windows synchronises only what is open for writing
        os.fsync(stream.fileno())
    partial.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to write into; it takes that name at the end of the block, or vanishes after an error.

    Raises:
        OSError: it cannot be written, or something other than an empty folder has the name.
    """
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
