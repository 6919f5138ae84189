"""A log of predictions in JSON Lines, appended photo by photo so that an interrupted run can continue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from boxpromptiml.core.atomic_files import atomic_path
from boxpromptiml.runtime.run_folder import run_folder

LINES = "predictions.jsonl"
SETTINGS = "predictions.settings.json"
RESULTS = (LINES, ".predictions-*.jsonl", "predictions.json", "coco.json")


class PredictionLog:
    """One process's part of ``predictions.jsonl``; `merge` combines the parts.

    Args:
        folder: folder of the results.
        rank: global rank of the process.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._lock = Lock()
        self._stream = (folder / f".predictions-{rank:03d}.jsonl").open("w", encoding="utf-8")

    def add(self, entry: dict[str, Any]) -> None:
        """Append the entry of a photo, identified by ``file``, whose results are on disk. Thread-safe."""
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


@contextmanager
def open_log(folder: Path, settings: dict[str, Any], overwrite: bool = False) -> Iterator[None]:
    """Lock the folder; log entries of an earlier run with the same settings are kept.

    Raises:
        InputError: see `run_folder`.
    """
    with run_folder(folder, SETTINGS, settings, RESULTS, overwrite):
        merge(folder)
        yield


def merge(folder: Path) -> list[dict[str, Any]]:
    """Merge all parts into ``predictions.jsonl``, sorted by file; for duplicate entries the later one is kept."""
    entries = {entry["file"]: entry for path in _parts(folder) for entry in _lines(path)}
    ordered = [entries[file] for file in sorted(entries)]
    with atomic_path(folder / LINES) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n" for entry in ordered)
    for path in _parts(folder)[1:]:
        path.unlink()
    return ordered


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Read ``predictions.jsonl`` as a dict by file."""
    return {entry["file"]: entry for entry in _lines(folder / LINES)}


def _parts(folder: Path) -> list[Path]:
    return [folder / LINES, *sorted(folder.glob(".predictions-*.jsonl"))]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                entry = json.loads(line)
            except ValueError:  # an incomplete line of a process that was killed
                continue
            if isinstance(entry, dict) and "file" in entry:
                yield entry
