"""A folder for the results of one run, protected from concurrent runs and accidental replacement.

All commands follow one rule. A run with the same settings continues or rewrites the results in the folder. A run with
different settings is rejected unless ``--overwrite`` is given. ``fit`` continues a run only from its checkpoint, so it
rejects every other one. `provenance.write_results` applies the rule to single files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boxpromptiml.runtime.locks import exclusive_lock
from boxpromptiml.runtime.provenance import OtherResultsError, write_json

REPLACE = "choose another folder, or replace them with --overwrite"


@contextmanager
def run_folder(
    folder: Path, record: str, settings: Mapping[str, Any], results: Sequence[str], overwrite: bool = False
) -> Iterator[None]:
    """Lock a folder and make sure that it only holds results of these settings; called by the first process of a run.

    Args:
        folder: created if it does not exist.
        record: name of the JSON file in it that records the settings of its results.
        settings: everything that determines the results.
        results: glob patterns of the result files.
        overwrite: delete results of different settings.

    Raises:
        LockedError: another run is using the folder.
        OtherResultsError: the folder holds results of different settings and ``overwrite`` is False.
    """
    with exclusive_lock(folder):
        there = found(folder, results)
        if there and (different := _difference(folder / record, settings)):
            replace(f"{folder}: contains results {different}; {REPLACE}", there, overwrite)
        write_json(folder / record, settings)
        yield


def refuse_another_training(folder: Path, checkpoint_folders: Sequence[Path], overwrite: bool) -> None:
    """Make sure that the folder of a new training run holds no other run, neither its record nor its checkpoints.

    Raises:
        OtherResultsError: it does, and ``overwrite`` is False.
    """
    there = found(folder, ["fit.json"]) + [path for place in checkpoint_folders for path in found(place, ["*.ckpt"])]
    if there:
        reason = (
            f"{folder}: contains a run ({there[-1].name}); continue it with --ckpt_path last, replace it with "
            "--overwrite, or choose another --trainer.default_root_dir"
        )
        curves = found(folder, ["version_*/metrics.csv", "version_*/config.yaml"])  # of the same run
        replace(reason, [*there, *curves], overwrite)


def relative_to(path: Path, folder: Path) -> str:
    """Return the path of an input as settings record it, which stays the same if input and folder move together."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # a different drive on Windows
        return path.resolve().as_posix()


def found(folder: Path, results: Sequence[str]) -> list[Path]:
    """List the files of a folder that match any of the glob patterns."""
    return sorted({path for pattern in results for path in folder.glob(pattern) if path.is_file()})


def replace(reason: str, there: Sequence[Path], overwrite: bool) -> None:
    """Delete existing results and print their names.

    Raises:
        OtherResultsError: ``overwrite`` is False; ``reason`` is the message.
    """
    if not overwrite:
        raise OtherResultsError(reason)
    for path in there:
        print(f"replaced: {path}")
        path.unlink(missing_ok=True)


def _difference(record: Path, settings: Mapping[str, Any]) -> str:
    """Describe how the recorded settings differ from the current ones; empty if they are equal."""
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"with unknown settings (no {record.name})"
    now = json.loads(json.dumps(settings))
    if not isinstance(before, dict):
        return f"with unknown settings (see {record.name})"
    for name in dict.fromkeys([*now, *before]):
        if before.get(name) != now.get(name):
            return f"with other settings ({_describe_change(name, before.get(name), now.get(name))})"
    return ""


def _describe_change(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        part = next(part for part in dict.fromkeys([*now, *before]) if before.get(part) != now.get(part))
        return _describe_change(f"{name}.{part}", before.get(part), now.get(part))
    return f"{name} {_short(before)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
