"""What is already on disk: how an interrupted run is continued without computing anything twice.

Which images form shard NNNNN is fixed by the manifest's order alone. Each finished batch is kept as a small shard of
its own, ``part-NNNNN-PPPPP.h5`` (PPPPP: place of its first image within the shard); when the last batch of a shard is
there they are merged. Any number of processes can therefore take over from any other number. What is damaged on disk
counts as not computed; `boxpromptiml cache verify --repair true` turns a damaged shard into a part of what is whole.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boxpromptiml.core.records import ImageRecord, Sample, SetAside, Stamp
from boxpromptiml.runtime.provenance import write_json
from boxpromptiml.shards import (
    AGAIN,
    CacheError,
    DamageError,
    open_shard,
    place_of,
    read_shard,
    salvage,
    shard_paths,
    write_shard,
)

SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True)
class Slice:
    """The images of one shard, in the manifest's order."""

    place: int
    records: list[ImageRecord]


def slices(records: Sequence[ImageRecord], shard_size: int) -> list[Slice]:
    """Cut the records into shards of ``shard_size``; the last one may be smaller."""
    firsts = range(0, len(records), shard_size)
    return [Slice(place, list(records[first : first + shard_size])) for place, first in enumerate(firsts)]


def refuse_other_settings(cache: Path, settings: dict[str, Any], stamp: Stamp) -> None:
    """Check that a folder is empty, or was begun with the same settings.

    The stamp in its shards has the last word, because it has a checksum and the file of settings has none.

    Raises:
        CacheError: it was begun with others (the message names the first that differs), or holds something else.
    """
    other_stamp = None
    files = sorted(path for path in cache.glob("*") if not path.name.startswith("."))
    if [path.name for path in files] in ([], [SETTINGS]):
        return  # nothing was computed yet, so nothing can be mixed
    for path in (path for path in files if path.suffix == ".h5"):
        try:
            open_shard(path, stamp)
            return
        except DamageError:
            continue
        except CacheError as error:
            other_stamp = error
            break
    try:
        found = json.loads((cache / SETTINGS).read_text(encoding="utf-8"))
        different = [name for name in [*settings, *found] if found.get(name) != settings.get(name)]
    except FileNotFoundError:
        raise CacheError(f"{cache}: holds files that are not a cache; choose an empty folder for out") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:  # damaged: not text, not JSON, not a mapping
        raise CacheError(f"{cache / SETTINGS}: cannot be read ({error}); delete the folder to start over") from None
    if different:
        name = different[0]
        raise CacheError(
            f"{cache}: made with {name} {found.get(name)}, not {settings.get(name)}; keep each run in a folder of its "
            "own, or delete the folder to start over"
        )
    if other_stamp:
        raise other_stamp


def write_settings(cache: Path, settings: dict[str, Any]) -> None:
    """Record what a cache is made with, before anything is computed.

    Raises:
        CacheError: the folder cannot be written.
    """
    try:
        write_json(cache / SETTINGS, settings)
    except OSError as error:
        raise CacheError(f"{cache}: cannot be written ({error.strerror}); make room or choose another out") from None


def pending(cache: Path, piece: Slice, stamp: Stamp) -> list[ImageRecord]:
    """The images of an unfinished shard that are in none of its parts yet. Damaged parts are cut to what is whole.

    Raises:
        CacheError: a part has another stamp, or cannot be written again.
    """
    done: dict[Path, set[int]] = {}
    for path in _parts(cache, piece):
        samples, set_aside, damage = salvage(path, stamp)
        kept: list[Sample | SetAside] = [*samples, *set_aside]
        place = path
        if damage:
            print(f"{path}: {len(damage)} damaged, computed again; {len(kept)} kept", file=sys.stderr)
            if kept:
                place = write_part(cache, piece, kept, stamp, 0.0)
            if not kept or place != path:
                path.unlink()
        done[place] = {item.image_id for item in kept}
    finished = set().union(*done.values())
    return [record for record in piece.records if record.image_id not in finished]


def write_part(cache: Path, piece: Slice, results: Sequence[Sample | SetAside], stamp: Stamp, seconds: float) -> Path:
    """Keep a finished batch, under a name that no other batch of the shard can have.

    Raises:
        CacheError: it cannot be written.
    """
    ids = {result.image_id for result in results}
    first = next(place for place, record in enumerate(piece.records) if record.image_id in ids)
    samples = [result for result in results if isinstance(result, Sample)]
    set_aside = [result for result in results if isinstance(result, SetAside)]
    path = cache / f"part-{piece.place:05d}-{first:05d}.h5"
    write_shard(path, samples, set_aside, stamp, seconds)
    return path


def merge(cache: Path, piece: Slice, stamp: Stamp, process: int) -> None:
    """Make a shard of its parts, in the manifest's order, and remove them.

    Raises:
        CacheError: a part is damaged, or the shard cannot be written.
    """
    paths = _parts(cache, piece)
    results: dict[int, Sample | SetAside] = {}
    for path in paths:
        samples, set_aside = read_shard(path, stamp)
        results.update({sample.image_id: sample for sample in samples})
        results.update({item.image_id: item for item in set_aside})
    ordered = [results[record.image_id] for record in piece.records]
    write_shard(
        cache / f"shard-{process:03d}-{piece.place:05d}.h5",
        [result for result in ordered if isinstance(result, Sample)],
        [result for result in ordered if isinstance(result, SetAside)],
        stamp,
        sum(open_shard(path, stamp).seconds for path in paths),
    )
    for path in paths:
        path.unlink()


def ask_again(cache: Path, stamp: Stamp) -> None:
    """Forget which images were skipped, so that they are read once more; samples stay.

    Raises:
        CacheError: a shard is damaged, or cannot be written.
    """
    (cache / "index.json").unlink(missing_ok=True)
    for path in sorted(cache.glob("*.h5")):
        if open_shard(path, stamp).set_aside:
            samples, _ = read_shard(path, stamp)
            if samples:
                part = cache / f"part-{place_of(path):05d}-kept.h5" if path.name.startswith("shard") else path
                write_shard(part, samples, [], stamp, open_shard(path, stamp).seconds)
            if not samples or part != path:
                path.unlink()


def tidy(cache: Path, pieces: Sequence[Slice]) -> None:
    """Check that every shard is there, and remove what killed processes left behind.

    Raises:
        CacheError: a shard is missing.
    """
    missing = {piece.place for piece in pieces} - set(shard_paths(cache))
    if missing:
        raise CacheError(
            f"{cache}: shard {min(missing):05d} is missing; if the processes run on several machines they need one "
            f"shared folder, then {AGAIN}"
        )
    for leftover in [*cache.glob("part-*.h5"), *cache.glob(".*.partial")]:
        leftover.unlink()


def _parts(cache: Path, piece: Slice) -> list[Path]:
    return sorted(cache.glob(f"part-{piece.place:05d}-*.h5"))
