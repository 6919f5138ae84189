"""A lock on a folder that prevents two runs from writing into it at once.

The file ``.lock`` has a line for each process of a run, with its process id, machine and command. The process holds an
operating-system lock on its line, which is released when the process ends for any reason. Lines without a lock are
therefore stale, and nothing has to be cleaned up after a crash.

The package ``filelock`` locks whole files: it cannot name the holder, nor tell which process of a run has died.
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
except ImportError:  # Windows, where there is no locking
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
LINE = 256
"""Length of a line in bytes, padded."""


class LockedError(InputError):
    """Another run is using the folder. The message names the folder, the process and the remedy."""


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[Callable[[], str | None]]:
    """Lock a folder against all other runs, and take the first line of the lock file for this process.

    The other processes of the run add their lines with `process_lock`. There is no locking where the file system does
    not support it or the folder is read-only.

    Yields:
        A function that names a process of this run that has died, or returns None.

    Raises:
        LockedError: a process of another run holds a lock; the message names it.
    """
    with _lock_file(folder) as file:
        if file:
            _lock(folder, file, 0, 0)  # the whole file, whatever lines are added
            file.truncate(0)
            _sign(file, 0)
            with suppress(OSError):
                fcntl.lockf(file, fcntl.LOCK_UN, 0, LINE)
        yield lambda: _gone(file) if file else None
        if file:
            with suppress(OSError):
                (folder / NAME).unlink()


@contextmanager
def process_lock(folder: Path, process: int) -> Iterator[None]:
    """Take the line of a further process of the run that has locked the folder.

    Args:
        folder: locked by the first process with `exclusive_lock`.
        process: rank of the process in the run, from 1.

    Raises:
        LockedError: a process of another run holds this line.
    """
    with _lock_file(folder) as file:
        if file:
            _lock(folder, file, process * LINE, LINE)
            _sign(file, process)
        yield


@contextmanager
def _lock_file(folder: Path) -> Iterator[BinaryIO | None]:
    """Open the lock file; None if that is impossible. Closing any handle of it releases all locks of the process."""
    if fcntl is None:
        yield None
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # a symbolic link could point to an unrelated file
        file = os.fdopen(os.open(folder / NAME, flags, 0o666), "r+b", buffering=0)
    except OSError:  # a read-only folder: the first write reports it
        yield None
        return
    with file:
        yield file


def _lock(folder: Path, file: BinaryIO, start: int, length: int) -> None:
    if not _locked(file, start, length):
        raise LockedError(f"{folder}: in use by {_holder(file)}; wait until it ends, or stop it, then run again")
    path = folder / NAME
    # The previous holder may have ended and deleted the file between our opening and our locking it.
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
        raise LockedError(f"{folder}: another run has just ended in this folder; run again")


def _locked(file: BinaryIO, start: int, length: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):  # depending on the system
        return False
    except OSError:  # the file system does not support locks
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
    """Return a line whose lock is no longer held; the first line is this process's own."""
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
