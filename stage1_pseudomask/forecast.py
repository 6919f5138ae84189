"""What lies ahead of a run: images, boxes, bytes and hours, from what is done or from a timed sample."""

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
from stage1_pseudomask.batch_size import tuned
from stage1_pseudomask.engine import Job, compute
from stage1_pseudomask.resume import Slice

SAMPLE = 4
"""Batches that are timed where nothing is done yet."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one process is.

    Attributes:
        seconds: an image.
        bytes: an image, stored.
        origin: in words.
    """

    seconds: float
    bytes: float
    origin: str


def forecast(records: Sequence[ImageRecord], job: Job, accelerator: str, precision: str, processes: int) -> str:
    """Say how many images, boxes, bytes and hours lie ahead. The cache is only read.

    Args:
        records: everything that the cache is to hold.
        job: as for `compute`; its teacher is loaded where nothing is done yet.
        accelerator: where the teacher computes.
        precision: of the teacher's network.
        processes: that will share the work.

    Raises:
        CacheError: there is no room for a sample.
        InputError: the teacher cannot be loaded.
    """
    done, pace = _done(job.cache, job.stamp)
    ahead = [record for record in records if record.image_id not in done]
    lines = [
        f"{job.cache}: {len(ahead):,} of {len(records):,} images lie ahead, with "
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
    lines.append(f"room: {need / 1e9:,.3f} GB, {pace.bytes:,.0f} bytes an image; {free / 1e9:,.1f} GB are free")
    if need > free:
        lines.append("room: NOT ENOUGH; name a larger disk for out, or a smaller size")
    return "\n".join(lines)


def _done(cache: Path, stamp: Stamp) -> tuple[set[int], Pace | None]:
    """Images in whole shards and parts, and the pace at which they were made."""
    done: set[int] = set()
    samples, seconds, size = 0, 0.0, 0
    for path in cache.glob("*.h5"):
        try:
            shard = open_shard(path, stamp)
        except CacheError:  # damaged: computed again
            continue
        done.update(shard.image_ids.tolist(), (item.image_id for item in shard.set_aside))
        samples, seconds, size = samples + len(shard), seconds + shard.seconds, size + path.stat().st_size
    if not samples or not seconds:
        return done, None
    return done, Pace(seconds / samples, size / samples, f"as in the {samples:,} images that are done")


def _timed(records: Sequence[ImageRecord], job: Job, accelerator: str, precision: str) -> Pace:
    """Compute some images, spread evenly, into a folder that is removed."""
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)  # type: ignore[arg-type]
    job.teacher.load(fabric.device)
    job = tuned(fabric, job)
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
