"""A folder for the results of one run: nobody else writes there meanwhile, and nothing there is replaced unasked.

One rule holds for every command. Results of the same settings are gone on with, or written again. Those of others are
refused; ``--overwrite true`` replaces them. `provenance.write_results` holds the same rule for single files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boxpromptiml.runtime.locks import sole_use
from boxpromptiml.runtime.provenance import OtherResultsError, write_json

REPLACE = "name another folder, or replace them with --overwrite true"


@contextmanager
def run_folder(
    folder: Path, record: str, settings: Mapping[str, Any], results: Sequence[str], overwrite: bool = False
) -> Iterator[None]:
    """Have a folder to oneself, in the first process of a run, and for results of these settings alone.

    Args:
        folder: made where there is none.
        record: name of the file there that says with which settings its results are made; JSON.
        settings: that decide the results.
        results: patterns of the files that are replaced.
        overwrite: replace results of other settings.

    Raises:
        LockedError: another run is at work there.
        OtherResultsError: it holds results of other settings, and they are not to be replaced.
    """
    with sole_use(folder):
        there = found(folder, results)
        if there and (different := _difference(folder / record, settings)):
            replace(f"{folder}: holds results {different}; {REPLACE}", there, overwrite)
        write_json(folder / record, settings)
        yield


def relative_to(path: Path, folder: Path) -> str:
    """How settings name an input: the same after both were moved together, and from whatever folder a command runs."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return path.resolve().as_posix()


def found(folder: Path, results: Sequence[str]) -> list[Path]:
    """Files of a folder that match one of the patterns."""
    return sorted({path for pattern in results for path in folder.glob(pattern) if path.is_file()})


def replace(reason: str, there: Sequence[Path], overwrite: bool) -> None:
    """Delete results that are to be replaced, after saying which.

    Raises:
        OtherResultsError: they are not to be replaced; ``reason`` is its text.
    """
    if not overwrite:
        raise OtherResultsError(reason)
    for path in there:
        print(f"replaced: {path}")
        path.unlink(missing_ok=True)


def _difference(record: Path, settings: Mapping[str, Any]) -> str:
    """In what a folder's record differs from settings, in words; nothing where they are the same."""
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"of unknown settings, without a {record.name}"
    now = json.loads(json.dumps(settings))
    if not isinstance(before, dict):
        return f"of unknown settings, by {record.name}"
    for name in dict.fromkeys([*now, *before]):
        if before.get(name) != now.get(name):
            return f"of other settings ({_told(name, before.get(name), now.get(name))})"
    return ""


def _told(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        part = next(part for part in dict.fromkeys([*now, *before]) if before.get(part) != now.get(part))
        return _told(f"{name}.{part}", before.get(part), now.get(part))
    return f"{name} {_short(before)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
