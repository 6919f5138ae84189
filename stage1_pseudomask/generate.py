"""The command ``boxpromptiml pseudomasks``: from a manifest to a cache of pseudo-masks."""

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
from boxpromptiml.runtime.locks import part_in, sole_use
from boxpromptiml.runtime.provenance import content_hash, file_sha256
from boxpromptiml.shards import AGAIN, SCHEMA, CacheError, CacheIndex, read_index, shard_paths, write_index
from stage1_pseudomask import resume
from stage1_pseudomask.teachers import Teacher

SET_ASIDE = 3
"""Exit code when everything else went well but some images were skipped."""
WATCH = 0.1
"""Seconds between two looks at whether all processes of the run are alive."""
SHOWN = 20
"""How many of those are listed on the screen; ``index.json`` has all."""


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
    """Stage one: let a frozen teacher turn coarse boxes into pseudo-masks, cached as HDF5 shards.

    Interrupted at any moment, even by a kill or a full disk, the same command goes on where it stopped, with any number
    of processes; a complete cache is left as it is. Images that cannot be read are skipped, listed at the end, and
    make the exit code 3.

    Args:
        manifest: COCO JSON with the images and their boxes.
        out: folder for the cache.
        teacher: who makes the masks, such as stage1_pseudomask.teachers.sam.SegmentAnything or
            stage1_pseudomask.teachers.grabcut.GrabCut.
        size: side of stored images and masks in pixels.
        margin: how far a mask may reach over each side of its box, as a share of the box.
        select_by: by what the best of a teacher's candidates is selected, and what is kept as its confidence: the
            teacher's own score, or quality, which is score × stability of the mask × fit of the mask to the box.
        splits: which splits of the manifest to use; by default all.
        shard_size: images in a shard.
        batch_size: images that the teacher embeds at once, or auto for as many as a GPU's memory holds (measured in
            seconds at the start; eight on a CPU). Finished batches are never computed again.
        workers: loader processes that read and resize images, for each process of the teacher.
        accelerator: cpu, cuda, mps or auto.
        devices: how many processes on each machine, or auto for one on each GPU. torchrun and SLURM are recognised.
        num_nodes: how many machines. They need a shared folder.
        precision: of the teacher's network.
        retry: read images once more that an earlier run skipped, after their files were repaired.
        dry_run: only say how many images, boxes, bytes and hours lie ahead, judged by what is done or by a few images
            that are computed and thrown away; write nothing.
    """
    found = read_manifest(manifest)
    records = [record for record in found.records if splits is None or record.split in splits]
    if not records:
        raise ManifestError(f"{manifest}: no usable image in splits {splits or 'train, val, test'}; name other splits")
    settings = {
        "manifest": file_sha256(manifest),
        "splits": splits,
        "margin": margin,
        "rank": select_by,  # its name in caches, whose hashes it is part of
        "shard_size": shard_size,
        "precision": precision,
        **{f"teacher.{name}": value for name, value in teacher.settings.items()},
    }
    stamp = Stamp(SCHEMA, size, teacher.name, teacher.weights_sha256, content_hash(settings), __version__)
    resume.refuse_other_settings(out, _named(stamp, settings), stamp)
    if (out / "index.json").exists() and not retry:
        print(f"{out}: complete, nothing to do")
        return _report(read_index(out))

    from lightning.fabric import Fabric  # seconds to import, and neither the help nor a complete cache needs it

    from stage1_pseudomask.batch_size import tuned
    from stage1_pseudomask.engine import Job, compute
    from stage1_pseudomask.forecast import forecast

    job = Job(out, stamp, teacher, margin, 0 if batch_size == "auto" else batch_size, workers, select_by)
    with existing_devices(accelerator, devices):
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, precision=precision)
    if dry_run:
        print(forecast(records, job, accelerator, precision, fabric.world_size))
        return 0
    with ExitStack() as locks:
        if fabric.is_global_zero:  # before it starts the others
            gone = locks.enter_context(sole_use(out))
            resume.refuse_other_settings(out, _named(stamp, settings), stamp)
            resume.write_settings(out, _named(stamp, settings))
            if retry:
                resume.ask_again(out, stamp)
        fabric.launch()
        if not fabric.is_global_zero:
            locks.enter_context(part_in(out, fabric.global_rank))
        pieces = resume.slices(records, shard_size)
        finished = shard_paths(out)
        unfinished = [piece for piece in pieces if piece.place not in finished]
        _meet(fabric.barrier, out)  # from here on shards appear, and every process must have seen the same ones
        if unfinished:
            with fabric.rank_zero_first(local=True):  # so that one process downloads the weights for all
                teacher.load(fabric.device)
        mine = unfinished[fabric.global_rank :: fabric.world_size]
        with _reports_dead_processes(out, gone) if fabric.is_global_zero else nullcontext():
            if mine:
                compute(fabric, mine, tuned(fabric, job))
        _meet(fabric.barrier, out)
        if not fabric.is_global_zero:
            return 0
        resume.tidy(out, pieces)
        index = write_index(out, stamp, found.set_aside)
    print(f"{out}: {index.samples} pseudo-masks in {len(pieces)} shards, {index.images_per_second:.1f} images/s")
    return _report(index)


def _meet(barrier: Callable[[], None], out: Path) -> None:
    """Wait for the other processes at a barrier of theirs.

    Raises:
        CacheError: one of them is gone.
    """
    try:
        barrier()
    except RuntimeError:  # which is how torch.distributed says it
        raise CacheError(f"{out}: another process stopped, its message says why; {AGAIN}") from None


@contextmanager
def _reports_dead_processes(out: Path, gone: Callable[[], str | None]) -> Iterator[None]:
    """Say which process of the run died. Whoever started them ends the others; what they finished is kept."""
    done = Event()

    def watch() -> None:
        while not done.wait(WATCH):
            if words := gone():
                print(f"\n{out}: {words} died, and the others end with it; {AGAIN}", file=sys.stderr, flush=True)
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _named(stamp: Stamp, settings: dict[str, Any]) -> dict[str, Any]:
    """Every setting under a name of its own, so that a refusal can say which one differs."""
    return {**{name: value for name, value in asdict(stamp).items() if name != "config_hash"}, **settings}


def _report(index: CacheIndex) -> int:
    for item in index.set_aside[:SHOWN]:
        print(f"skipped: {item.file}: {item.reason}", file=sys.stderr)
    if len(index.set_aside) > SHOWN:
        print(f"skipped: {len(index.set_aside) - SHOWN} more, see index.json", file=sys.stderr)
    if index.set_aside:
        print("skipped: after repairing files, the same command with --retry true reads them again", file=sys.stderr)
    return SET_ASIDE if index.set_aside else 0
