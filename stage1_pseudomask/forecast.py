"""Forecast of a run: images, boxes, disk space and time, from finished images or from a timed sample."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lightning.fabric import Fabric

from boxpromptiml.core.records import ImageRecord, Stamp
from boxpromptiml.shards import CacheError, open_shard, shard_paths
from stage1_pseudomask.batch_size import with_batch_size
from stage1_pseudomask.engine import Job, compute
from stage1_pseudomask.resume import Slice

SAMPLE = 4
"""Number of batches to time if no image is finished yet."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Throughput of one process.

    Attributes:
        seconds: per image.
        bytes: per stored image.
        origin: how it was determined.
    """

    seconds: float
    bytes: float
    origin: str


def forecast(records: Sequence[ImageRecord], job: Job, accelerator: str, precision: str, processes: int) -> str:
    """Describe how many images, boxes, bytes and hours remain. The cache is not changed.

    Args:
        records: all images of the complete cache.
        job: as for `compute`; its teacher is loaded if no image is finished yet.
        accelerator: accelerator for the teacher, such as cuda.
        precision: numerical precision of the teacher's network.
        processes: number of processes that will share the work.

    Raises:
        CacheError: there is no disk space for a sample.
        InputError: the teacher cannot be loaded.
    """
    done, pace = _done(job.cache, job.stamp)
    ahead = [record for record in records if record.image_id not in done]
    lines = [
        f"{job.cache}: {len(ahead):,} of {len(records):,} images left to do, with "
        f"{sum(len(record.boxes_xyxy) for record in ahead):,} boxes"
    ]
    if not ahead:
        return lines[0]
    pace = pace or _timed(ahead, job, accelerator, precision)
    hours = pace.seconds * len(ahead) / processes / 3600
    long = f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:,.1f} minutes"
    who = f"{processes} process{'es' * (processes > 1)}"
    lines.append(f"time: {long} with {who} at {1 / pace.seconds:,.2f} images/s each ({pace.origin})")
    free = shutil.disk_usage(_existing(job.cache)).free
    need = pace.bytes * len(ahead)
    lines.append(f"disk: {need / 1e9:,.3f} GB, {pace.bytes:,.0f} bytes per image; {free / 1e9:,.1f} GB are free")
    if need > free:
        lines.append("disk: NOT ENOUGH SPACE; choose a larger disk for --out, or a smaller --size")
    return "\n".join(lines)


def _done(cache: Path, stamp: Stamp) -> tuple[set[int], Pace | None]:
    """Return the images in complete shards and parts, and their throughput."""
    done: set[int] = set()
    samples, seconds, size = 0, 0.0, 0
    for path in cache.glob("*.h5"):
        try:
            shard = open_shard(path, stamp)
        except CacheError:  # damaged files are computed again
            continue
        done.update(shard.image_ids.tolist(), (item.image_id for item in shard.set_aside))
        samples, seconds, size = samples + len(shard), seconds + shard.seconds, size + path.stat().st_size
    if not samples or not seconds:
        return done, None
    return done, Pace(seconds / samples, size / samples, f"as in the {samples:,} images that are done")


def _timed(records: Sequence[ImageRecord], job: Job, accelerator: str, precision: str) -> Pace:
    """Measure the throughput on some evenly spaced images, in a temporary folder."""
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)  # type: ignore[arg-type]
    job.teacher.load(fabric.device)
    job = with_batch_size(fabric, job)
    count = min(len(records), SAMPLE * job.batch_size)
    chosen = [records[i] for i in np.linspace(0, len(records) - 1, count).round().astype(int).tolist()]
    with tempfile.TemporaryDirectory() as name:
        compute(fabric, [Slice(0, chosen)], replace(job, cache=Path(name)))
        (path,) = shard_paths(Path(name)).values()
        shard = open_shard(path, job.stamp)
        seconds, size = shard.seconds / count, path.stat().st_size / count
    return Pace(seconds, size, f"timed on {count} images")


def _existing(folder: Path) -> Path:
    return next(path for path in [folder, *folder.absolute().parents] if path.exists())
