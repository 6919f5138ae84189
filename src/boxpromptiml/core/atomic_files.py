"""Atomic writing: a file or folder appears under its name only when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Write a file atomically: the block writes to a temporary file, which is renamed to ``path`` at the end.

    The content is flushed to disk before the rename, so a power cut leaves either the old file or the new one. After an
    exception the temporary file is deleted. A symbolic link at either path is replaced, not followed. Missing parent
    folders are created.

    Yields:
        ``.NAME.partial`` in the same folder, which does not exist yet. A library that derives the format from the
        suffix needs to be given the format.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    partial.unlink(missing_ok=True)  # left by a run that was killed
    try:
        yield partial
        move_into_place(partial, path)
    except BaseException:
        with suppress(OSError):  # a disk that has become read-only
            partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file's content through `atomic_path`."""
    with atomic_path(path) as partial, partial.open("xb") as stream:
        stream.write(content)


def move_into_place(partial: Path, path: Path) -> None:
    """Flush a finished file to disk, then rename it."""
    with partial.open("r+b") as stream:  # Windows only syncs files that are open for writing
        os.fsync(stream.fileno())
    partial.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Write a folder atomically: the block fills a temporary folder, which is renamed to ``path`` at the end.

    After an exception the temporary folder is deleted.

    Raises:
        OSError: the folder cannot be written, or ``path`` exists and is not an empty folder.
    """
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
