"""The command ``boxpromptiml pseudomasks``: a cache of pseudo-masks from a manifest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

from boxpromptiml import __version__
from boxpromptiml.core.limits import Count, Devices, Share, Side, Workers, within_limits
from boxpromptiml.core.records import Split, Stamp
from boxpromptiml.manifests.manifest import ManifestError, read_manifest
from boxpromptiml.runtime.devices import existing_devices
from boxpromptiml.runtime.locks import exclusive_lock, process_lock
from boxpromptiml.runtime.provenance import content_hash, file_sha256
from boxpromptiml.shards import AGAIN, SCHEMA, CacheError, CacheIndex, read_index, shard_paths, write_index
from stage1_pseudomask import resume
from stage1_pseudomask.teachers import Teacher

SET_ASIDE = 3
"""Exit code if images were skipped and everything else succeeded."""
WATCH = 0.1
"""Interval in seconds at which the run's processes are checked."""
SHOWN = 20
"""Maximum number of skipped images printed; ``index.json`` has all."""


@within_limits
def pseudomasks(
    manifest: Path,
    out: Path,
    teacher: Teacher,
    size: Side = 256,
    margin: Share = 0.05,
    select_by: Literal["score", "quality"] = "score",
    splits: list[Split] | None = None,
    shard_size: Count = 64,
    batch_size: Count | Literal["auto"] = "auto",
    workers: Workers = 2,
    accelerator: str = "auto",
    devices: Devices = "auto",
    num_nodes: Count = 1,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    retry: bool = False,
    dry_run: bool = False,
) -> int:
    """Stage one: convert coarse boxes to pseudo-masks with a frozen teacher, cached as HDF5 shards.

    After any interruption, including a kill or a full disk, the same command continues where it stopped, with any
    number of processes; a complete cache is left unchanged. Unreadable images are skipped and listed, and the exit code
    is then 3.

    Args:
        manifest: COCO JSON with the images and their boxes.
        out: folder for the cache.
        teacher: model that makes the masks, such as stage1_pseudomask.teachers.sam.SegmentAnything or
            stage1_pseudomask.teachers.box_segmenter.BoxSegmenter.
        size: side of stored images and masks in pixels.
        margin: how far a mask may extend beyond each side of its box, as a fraction of the box.
        select_by: criterion for selecting one of the teacher's candidates, also stored as its confidence: score, the
            teacher's own, or quality, which is score × stability of the mask × fit of the mask to the box.
        splits: splits of the manifest to use; by default all.
        shard_size: images per shard.
        batch_size: images embedded at once, or auto for as many as fit into GPU memory (found by a short
            trial at the start; 8 on a CPU). Finished batches are never computed again.
        workers: loader processes that read and resize images, per process of the teacher.
        accelerator: cpu, cuda, mps or auto.
        devices: processes per machine, or auto for one per GPU. torchrun and SLURM are detected.
        num_nodes: number of machines. They need a shared folder.
        precision: numerical precision of the teacher's network.
        retry: read images again that an earlier run skipped, after their files were repaired.
        dry_run: only print how many images, boxes, bytes and hours remain, estimated from finished images or from a few
            that are computed and discarded; write nothing.
    """
    found = read_manifest(manifest)
    records = [record for record in found.records if splits is None or record.split in splits]
    if not records:
        raise ManifestError(
            f"{manifest}: no usable image in splits {splits or 'train, val, test'}; choose other --splits"
        )
    settings = {
        "manifest": file_sha256(manifest),
        "splits": splits,
        "margin": margin,
        "rank": select_by,  # the key in existing caches, which is part of their hash
        "shard_size": shard_size,
        "precision": precision,
        **{f"teacher.{name}": value for name, value in teacher.settings.items()},
    }
    stamp = Stamp(SCHEMA, size, teacher.name, teacher.weights_sha256, content_hash(settings), __version__)
    resume.refuse_other_settings(out, _named(stamp, settings), stamp)
    if (out / "index.json").exists() and not retry:
        print(f"{out}: complete, nothing to do")
        return _report(read_index(out))

    from lightning.fabric import Fabric  # a slow import that --help and a complete cache do not need

    from stage1_pseudomask.batch_size import with_batch_size
    from stage1_pseudomask.engine import Job, compute
    from stage1_pseudomask.forecast import forecast

    job = Job(out, stamp, teacher, margin, 0 if batch_size == "auto" else batch_size, workers, select_by)
    with existing_devices(accelerator, devices):
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, precision=precision)
    if dry_run:
        print(forecast(records, job, accelerator, precision, fabric.world_size))
        return 0
    with ExitStack() as locks:
        if fabric.is_global_zero:  # before the other processes are launched
            gone = locks.enter_context(exclusive_lock(out))
            resume.refuse_other_settings(out, _named(stamp, settings), stamp)
            resume.write_settings(out, _named(stamp, settings))
            if retry:
                resume.retry_set_aside(out, stamp)
        fabric.launch()
        if not fabric.is_global_zero:
            locks.enter_context(process_lock(out, fabric.global_rank))
        pieces = resume.slices(records, shard_size)
        finished = shard_paths(out)
        unfinished = [piece for piece in pieces if piece.place not in finished]
        _meet(fabric.barrier, out)  # all processes must list the finished shards before new ones appear
        if unfinished:
            with fabric.rank_zero_first(local=True):  # one process downloads the weights for all
                teacher.load(fabric.device)
        mine = unfinished[fabric.global_rank :: fabric.world_size]
        with _reports_dead_processes(out, gone) if fabric.is_global_zero else nullcontext():
            if mine:
                compute(fabric, mine, with_batch_size(fabric, job))
        _meet(fabric.barrier, out)
        if not fabric.is_global_zero:
            return 0
        resume.tidy(out, pieces)
        index = write_index(out, stamp, found.set_aside)
    print(f"{out}: {index.samples} pseudo-masks in {len(pieces)} shards, {index.images_per_second:.1f} images/s")
    return _report(index)


def _meet(barrier: Callable[[], None], out: Path) -> None:
    """Wait for the other processes at a barrier.

    Raises:
        CacheError: one of them has ended.
    """
    try:
        barrier()
    except RuntimeError:  # raised by torch.distributed in that case
        raise CacheError(f"{out}: another process stopped, see its message; {AGAIN}") from None


@contextmanager
def _reports_dead_processes(out: Path, gone: Callable[[], str | None]) -> Iterator[None]:
    """Report which process of the run died. The launcher then ends the others; finished batches are kept."""
    done = Event()

    def watch() -> None:
        while not done.wait(WATCH):
            if words := gone():
                print(f"\n{out}: {words} died, so the others stop; {AGAIN}", file=sys.stderr, flush=True)
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _named(stamp: Stamp, settings: dict[str, Any]) -> dict[str, Any]:
    """Return every setting by name, so that an error can say which one differs."""
    return {**{name: value for name, value in asdict(stamp).items() if name != "config_hash"}, **settings}


def _report(index: CacheIndex) -> int:
    for item in index.set_aside[:SHOWN]:
        print(f"skipped: {item.file}: {item.reason}", file=sys.stderr)
    if len(index.set_aside) > SHOWN:
        print(f"skipped: {len(index.set_aside) - SHOWN} more, see index.json", file=sys.stderr)
    if index.set_aside:
        print("skipped: after you repair the files, run the same command with --retry", file=sys.stderr)
    return SET_ASIDE if index.set_aside else 0
