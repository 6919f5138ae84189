"""Resuming an interrupted run without computing anything twice.

The manifest's order alone determines which images form shard NNNNN. Each finished batch is stored as a small shard
``part-NNNNN-PPPPP.h5`` (PPPPP: index of its first image within the shard); when the last batch of a shard is finished,
its parts are merged. A run can therefore be resumed with any number of processes. Damaged samples count as not
computed; `boxpromptiml cache verify --repair` reduces a damaged shard to a part with its intact samples.
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
    """Divide the records into shards of ``shard_size``; the last one may be smaller."""
    firsts = range(0, len(records), shard_size)
    return [Slice(place, list(records[first : first + shard_size])) for place, first in enumerate(firsts)]


def refuse_other_settings(cache: Path, settings: dict[str, Any], stamp: Stamp) -> None:
    """Check that a folder is empty, or was started with the same settings.

    The stamp in its shards takes precedence over the settings file, because the latter has no checksum.

    Raises:
        CacheError: it was started with different settings (the message names the first), or has other content.
    """
    other_stamp = None
    files = sorted(path for path in cache.glob("*") if not path.name.startswith("."))
    if [path.name for path in files] in ([], [SETTINGS]):
        return  # nothing has been computed yet, so nothing can be mixed
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
        raise CacheError(
            f"{cache}: contains files that are not part of a cache; choose an empty folder for --out"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:  # not text, not JSON, or not a mapping
        raise CacheError(f"{cache / SETTINGS}: cannot be read ({error}); delete the folder to start over") from None
    if different:
        name = different[0]
        raise CacheError(
            f"{cache}: made with {name} {found.get(name)}, not {settings.get(name)}; use a separate folder for "
            "each run, or delete the folder to start over"
        )
    if other_stamp:
        raise other_stamp


def write_settings(cache: Path, settings: dict[str, Any]) -> None:
    """Record a cache's settings before anything is computed.

    Raises:
        CacheError: the folder cannot be written.
    """
    try:
        write_json(cache / SETTINGS, settings)
    except OSError as error:
        raise CacheError(f"{cache}: cannot be written ({error.strerror}); free space or choose another --out") from None


def pending(cache: Path, piece: Slice, stamp: Stamp) -> list[ImageRecord]:
    """Return the images of an unfinished shard that are in none of its parts; reduces damaged parts to intact samples.

    Raises:
        CacheError: a part has a different stamp, or cannot be rewritten.
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
    """Store a finished batch, under a name that is unique within its shard.

    Raises:
        CacheError: the file cannot be written.
    """
    ids = {result.image_id for result in results}
    first = next(place for place, record in enumerate(piece.records) if record.image_id in ids)
    samples = [result for result in results if isinstance(result, Sample)]
    set_aside = [result for result in results if isinstance(result, SetAside)]
    path = cache / f"part-{piece.place:05d}-{first:05d}.h5"
    write_shard(path, samples, set_aside, stamp, seconds)
    return path


def merge(cache: Path, piece: Slice, stamp: Stamp, process: int) -> None:
    """Merge the parts of a shard in the manifest's order, and delete them.

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


def retry_set_aside(cache: Path, stamp: Stamp) -> None:
    """Remove the records of skipped images, so that they are read again; samples are kept.

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
    """Check that all shards exist, and remove leftovers of killed processes.

    Raises:
        CacheError: a shard is missing.
    """
    missing = {piece.place for piece in pieces} - set(shard_paths(cache))
    if missing:
        raise CacheError(
            f"{cache}: shard {min(missing):05d} is missing; processes on several machines need a shared folder; {AGAIN}"
        )
    for leftover in [*cache.glob("part-*.h5"), *cache.glob(".*.partial")]:
        leftover.unlink()


def _parts(cache: Path, piece: Slice) -> list[Path]:
    return sorted(cache.glob(f"part-{piece.place:05d}-*.h5"))
