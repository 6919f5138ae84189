"""Disks in memory that can be made full or read-only, for root on Linux."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def can_mount() -> bool:
    """Return whether `disk` works here."""
    return os.geteuid() == 0 and platform.system() == "Linux" and _mountable()


def _mountable() -> bool:
    with tempfile.TemporaryDirectory() as name:
        if subprocess.run(["mount", "-t", "tmpfs", "none", name], capture_output=True).returncode:
            return False
        subprocess.run(["umount", name], check=True)
        return True


@contextmanager
def disk(folder: Path, room: int) -> Iterator[Callable[[str], None]]:
    """Mount a disk of the given size in bytes on a folder; yield a function that remounts it with other options."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "none", str(folder)], check=True)
    try:
        yield lambda option: subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", str(folder)], check=True)
