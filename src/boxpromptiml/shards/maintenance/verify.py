"""The command ``boxpromptiml cache verify``."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from boxpromptiml.core.limits import Count, within_limits
from boxpromptiml.core.records import Stamp
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.runtime.locks import exclusive_lock
from boxpromptiml.runtime.processes import processes
from boxpromptiml.runtime.provenance import content_hash, file_sha256, json_bytes, write_results
from boxpromptiml.shards import AGAIN, CacheError, CacheIndex, place_of, read_index, shard_paths
from boxpromptiml.shards.maintenance.derive import SETTINGS, read_settings
from boxpromptiml.shards.maintenance.examine import ExaminedShard, Problem, examine, take_apart

WHOLE, REPAIRED, DAMAGED = 0, 3, 4
"""Exit codes."""
INDEX = "index.json"
DERIVED = ("merged", "pruned")
"""Keys in the settings of caches that were created from others."""
SHOWN = 20
"""Maximum number of problems printed; the report lists all."""


@within_limits
def verify(
    cache: Path,
    manifest: Path | None = None,
    repair: bool = False,
    out: Path | None = None,
    workers: Count | None = None,
    overwrite: bool = False,
) -> int:
    """Verify every byte of a cache, list damaged shards and images, and find missing and duplicate images.

    Reads each shard twice, as in training and with HDF5, with all checksums; compares stamps, counts and the index.
    Damaged samples can be computed again without the others: repair keeps the intact ones, and the same `boxpromptiml
    pseudomasks` command then computes the rest.

    Args:
        cache: folder written by `boxpromptiml pseudomasks`, complete or not.
        manifest: manifest that the cache was made from, to find missing images.
        repair: remove what is damaged or duplicate and rename shards of other runs to .foreign, so that the missing
            samples can be computed again.
        out: JSON file for the findings.
        workers: number of processes; by default one per core, at most 8.
        overwrite: replace an existing file with different findings.

    Returns:
        0 if the cache is intact, 3 if it was repaired and can be completed, 4 if it is damaged or incomplete.
    """
    with exclusive_lock(cache) if repair else nullcontext():
        paths = sorted(cache.glob("shard-*-*.h5"), key=place_of)
        if not paths and not (cache / INDEX).exists():
            read_index(cache)  # raises the appropriate error
        settings, index, problems = _beside_shards(cache)
        with processes(workers or min(8, os.cpu_count() or 1)) as parallel_map:
            examined: list[ExaminedShard] = list(parallel_map(examine, paths, "shards"))
        problems += [problem for shard in examined for problem in shard.problems]
        problems += [Problem(path.name, None, what) for path, what in _foreign(examined).items()]
        problems += [
            Problem(second.name, image_id, f"also in {first.name}") for image_id, first, second in _doubles(examined)
        ]
        if index:
            problems += _against_index(cache, examined, index)
        if settings is not None:
            genuine = _fits(settings, examined)
            if not genuine:
                problems.append(Problem(SETTINGS, None, "does not match the stamp of the shards"))
            if manifest:
                if genuine and settings.get("manifest", file_sha256(manifest)) != file_sha256(manifest):
                    raise CacheError(
                        f"{manifest}: not the manifest that {cache} was made from, or it changed since; pass the "
                        "right one, or omit --manifest"
                    )
                problems += _against_manifest(manifest, settings, examined, index)
        _report(cache, examined, problems, out, overwrite)
        if not problems:
            return WHOLE
        if not repair:
            return DAMAGED
        _repair(cache, settings, examined)
    print(f"{cache}: the intact samples were kept; {AGAIN}")
    return REPAIRED


def _beside_shards(cache: Path) -> tuple[dict[str, Any] | None, CacheIndex | None, list[Problem]]:
    settings, index, problems = None, None, []
    try:
        settings = read_settings(cache)
    except CacheError as error:
        problems.append(Problem(SETTINGS, None, str(error).removeprefix(f"{cache / SETTINGS}: ")))
    try:
        index = read_index(cache)
    except CacheError as error:
        problems.append(Problem(INDEX, None, str(error).removeprefix(f"{cache / INDEX}: ")))
    return settings, index, problems


def _fits(settings: dict[str, Any], examined: Sequence[ExaminedShard]) -> bool:
    """Return whether the settings match the hash in the shards' stamps."""
    hashes = {shard.stamp.config_hash for shard in examined if shard.stamp}
    stamped = {field.name for field in fields(Stamp)}
    own = content_hash({name: value for name, value in settings.items() if name not in stamped})
    return not hashes or own in hashes or any(origin in settings for origin in DERIVED)


def _foreign(examined: Sequence[ExaminedShard]) -> dict[Path, str]:
    """Find shards of other runs and how they differ from the majority. (The index has no checksum to rely on.)"""
    stamps = Counter(shard.stamp for shard in examined if shard.stamp)
    usual = asdict(stamps.most_common(1)[0][0]) if stamps else {}
    found = {}
    for shard in examined:
        own = asdict(shard.stamp) if shard.stamp else usual
        for name in [name for name in own if own[name] != usual[name]][:1]:
            found[shard.path] = f"made with {name} {own[name] or 'none'}, but most shards with {usual[name] or 'none'}"
    return found


def _doubles(examined: Sequence[ExaminedShard]) -> Iterator[tuple[int, Path, Path]]:
    """Yield images that occur in two shards, with these shards."""
    ids = np.concatenate([np.zeros(0, np.int64), *(shard.image_ids for shard in examined)])
    shard_of = np.repeat(np.arange(len(examined)), [len(shard.image_ids) for shard in examined])
    order = np.argsort(ids, kind="stable")
    for place in np.flatnonzero(ids[order][1:] == ids[order][:-1]).tolist():
        first, second = (examined[shard_of[order[i]]].path for i in (place, place + 1))
        yield int(ids[order[place]]), first, second


def _against_index(cache: Path, examined: Sequence[ExaminedShard], index: CacheIndex) -> Iterator[Problem]:
    counts = {shard.path.name: len(shard.image_ids) for shard in examined if len(shard.image_ids) or not shard.damaged}
    names = [entry.name for entry in index.shards]
    if all(shard.stamp != index.stamp for shard in examined if shard.stamp):
        yield Problem(INDEX, None, "its stamp differs from that of its shards")
    there = {shard.path.name for shard in examined}
    for entry in index.shards:
        if entry.name not in there:
            yield Problem(entry.name, None, "missing")
        elif counts.get(entry.name, entry.samples) != entry.samples:
            yield Problem(entry.name, None, f"{counts[entry.name]} samples, but the index lists {entry.samples}")
    for name in sorted(there - set(names)):
        yield Problem(name, None, "not in the index")
    if names != [path.name for path in shard_paths(cache).values()]:
        yield Problem(INDEX, None, "does not list the existing shards in their order")
    if index.samples != sum(entry.samples for entry in index.shards):
        yield Problem(INDEX, None, f"lists {index.samples} samples, but its shards add up to another number")
    if not {item for shard in examined for item in shard.set_aside} <= set(index.set_aside):
        yield Problem(INDEX, None, "does not list images that shards list as skipped")


def _against_manifest(
    path: Path, settings: dict[str, Any], examined: Sequence[ExaminedShard], index: CacheIndex | None
) -> Iterator[Problem]:
    manifest = read_manifest(path)
    splits = settings.get("splits")
    wanted = {record.image_id for record in manifest.records if splits is None or record.split in splits}
    there = {image_id for shard in examined for image_id in shard.image_ids.tolist()}
    set_aside = {item for shard in examined for item in shard.set_aside}
    for image_id in sorted(wanted - there - {item.image_id for item in set_aside}):
        yield Problem(path.name, image_id, "missing in the cache")
    for image_id in sorted(there - wanted):
        yield Problem(path.name, image_id, "in the cache, but not in the manifest")
    if index and set(index.set_aside) != {*set_aside, *manifest.set_aside}:
        yield Problem(INDEX, None, "its skipped images are not those of the manifest and the shards")


def _report(
    cache: Path, examined: Sequence[ExaminedShard], problems: Sequence[Problem], out: Path | None, overwrite: bool
) -> None:
    samples = sum(len(shard.image_ids) for shard in examined)
    for problem in problems[:SHOWN]:
        image = "" if problem.image_id is None else f"image {problem.image_id}: "
        print(f"{problem.file}: {image}{problem.what}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"{len(problems) - SHOWN} more{f', see {out}' if out else '; --out FILE lists all'}", file=sys.stderr)
    verdict = f"{len(problems)} problems; --repair removes damaged samples" if problems else "intact"
    print(f"{cache}: {samples} samples in {len(examined)} shards, {verdict}")
    if out:
        found = [asdict(problem) for problem in problems]
        report = {"cache": str(cache), "shards": len(examined), "samples": samples, "problems": found}
        write_results({out: json_bytes(report)}, overwrite)


def _repair(cache: Path, settings: dict[str, Any] | None, examined: Sequence[ExaminedShard]) -> None:
    for origin in DERIVED:
        if settings and origin in settings:
            raise CacheError(f"{cache}: was {origin} from other caches; delete it and make it from them again")
    (cache / INDEX).unlink(missing_ok=True)
    foreign = _foreign(examined)
    for shard in examined:
        if shard.path in foreign or (shard.problems and not shard.damaged):  # may have taken hours to compute
            shard.path.replace(shard.path.with_name(f"{shard.path.name}.foreign"))
        elif shard.damaged:
            take_apart(shard.path)
    for _, first, second in _doubles(examined):
        if place_of(first) != place_of(second):  # at least one has a wrong name
            first.unlink(missing_ok=True)
            second.unlink(missing_ok=True)
    for path in set(cache.glob("shard-*-*.h5")) - set(shard_paths(cache).values()):  # two shards for one position
        path.unlink()
