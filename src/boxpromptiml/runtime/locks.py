"""A lock on a folder, so that two runs never write into it at once.

The file ``.lock`` has a line for each process of a run: its number, machine and command. The process holds a lock of
the operating system on its line, which is gone the moment the process is, however that ended: lines of the dead do not
count, and nothing has to be cleaned up after a crash.

The package ``filelock`` locks whole files: it names no holder, and does not tell which of a run's processes has died.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.provenance import command_line

try:
    import fcntl
except ImportError:  # Windows, where runs are not kept apart
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
LINE = 256
"""Bytes of a line, padded."""


class LockedError(InputError):
    """Another run is at work. Its text is one line that names the folder, the process and the remedy."""


@contextmanager
def sole_use(folder: Path) -> Iterator[Callable[[], str | None]]:
    """Keep every other run out of a folder, and take the first line for this process.

    The other processes of this run add their lines by `part_in`. Where the file system knows no locks, or the folder
    cannot be written, runs are not kept apart.

    Yields:
        A function that names a process of this run that is gone, if there is one.

    Raises:
        LockedError: a process of another run is at work; the message names it.
    """
    with _lock_file(folder) as file:
        if file:
            _lock(folder, file, 0, 0)  # the file to its end, however many lines others add
            file.truncate(0)
            _sign(file, 0)
            with suppress(OSError):
                fcntl.lockf(file, fcntl.LOCK_UN, 0, LINE)
        yield lambda: _gone(file) if file else None
        if file:
            with suppress(OSError):
                (folder / NAME).unlink()


@contextmanager
def part_in(folder: Path, process: int) -> Iterator[None]:
    """Take the line of another process of the run that has the folder for itself.

    Args:
        folder: which the first process holds by `sole_use`.
        process: its number in the run, from 1.

    Raises:
        LockedError: a process of another run has this line.
    """
    with _lock_file(folder) as file:
        if file:
            _lock(folder, file, process * LINE, LINE)
            _sign(file, process)
        yield


@contextmanager
def _lock_file(folder: Path) -> Iterator[BinaryIO | None]:
    """The open file, or None where there can be none. The process loses its locks when it closes the file once."""
    if fcntl is None:
        yield None
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # a link could lead to a file that is somebody's own
        file = os.fdopen(os.open(folder / NAME, flags, 0o666), "r+b", buffering=0)
    except OSError:  # a folder that cannot be written: whoever writes there says so
        yield None
        return
    with file:
        yield file


def _lock(folder: Path, file: BinaryIO, start: int, length: int) -> None:
    if not _locked(file, start, length):
        raise LockedError(f"{folder}: {_holder(file)} is at work there; wait until it ends, or stop it, then run again")
    path = folder / NAME
    # Who had it may have ended, and removed it, between our opening and our locking.
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
        raise LockedError(f"{folder}: another run has just ended there; run again")


def _locked(file: BinaryIO, start: int, length: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):  # systems differ in which
        return False
    except OSError:  # the file system knows no locks
        return True
    return True


def _sign(file: BinaryIO, process: int) -> None:
    words = " ".join(f"process {os.getpid()} on {socket.gethostname()} ({command_line()})".split())
    with suppress(OSError):  # a full disk
        file.seek(process * LINE)
        file.write(words.encode(errors="replace")[: LINE - 1].ljust(LINE - 1) + b"\n")


def _holder(file: BinaryIO) -> str:
    return next((words for start, words in _lines(file) if not _locked(file, start, LINE)), "another process")


def _gone(file: BinaryIO) -> str | None:
    """A signed line that nobody holds any more; the first is this process's own."""
    for start, words in _lines(file):
        if start and _locked(file, start, LINE):
            with suppress(OSError):
                fcntl.lockf(file, fcntl.LOCK_UN, LINE, start)
            return words
    return None


def _lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    file.seek(0)
    content = file.read()
    for start in range(0, len(content), LINE):
        if words := content[start : start + LINE].decode(errors="replace").strip(" \n\0"):
            yield start, words
