"""The main loop of stage one, run in each process: load a batch, run the teacher, write the results.

Loader workers read and resize in advance, the main thread runs the teacher, and a second thread waits for the results
and writes them. On a GPU the next batch is therefore queued before the previous one is fetched.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning.fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from boxpromptiml.core.records import ImageRecord, Sample, SetAside, Stamp
from stage1_pseudomask import resume
from stage1_pseudomask.loading import Prompt, Prompts, loader
from stage1_pseudomask.resume import Slice
from stage1_pseudomask.selection import SelectBy, select, stored
from stage1_pseudomask.teachers import Teacher

UNWRITTEN = 2
"""Maximum number of batches waiting for the writer; more would only use memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """Settings shared by all batches of a run; see the arguments of ``pseudomasks``. The teacher is loaded.

    A batch size of 0 is determined later by ``batch_size.with_batch_size``.
    """

    cache: Path
    stamp: Stamp
    teacher: Teacher
    margin: float
    batch_size: int
    workers: int
    select_by: SelectBy = "score"


@dataclass(frozen=True, slots=True)
class MaskBatch:
    """A batch on its way to the disk.

    Attributes:
        piece: the shard that it belongs to.
        loaded: output of the loader for each image.
        masks: (P, S, S) uint8 for the P prompts among them, on the teacher's device, possibly still being computed.
        scores: scores of the boxes of each prompt; likewise.
        completes: True for the last batch of its shard.
    """

    piece: Slice
    loaded: Sequence[Prompt | Sample | SetAside]
    masks: Tensor
    scores: Sequence[Tensor]
    completes: bool


def compute(fabric: Fabric, pieces: Sequence[Slice], job: Job) -> None:
    """Compute the shards of this process, writing each batch as soon as it is finished.

    Args:
        fabric: launched; determines rank, device and precision.
        pieces: unfinished shards of this process.
        job: settings of the run.

    Raises:
        CacheError: a part file is damaged, or a file cannot be written.
    """
    plan: list[tuple[Slice, list[ImageRecord]]] = []
    for piece in pieces:
        todo = resume.pending(job.cache, piece, job.stamp)
        plan += [(piece, todo[first : first + job.batch_size]) for first in range(0, len(todo), job.batch_size)]
        if not todo:  # a previous run was killed after the last batch and before the merge
            resume.merge(job.cache, piece, job.stamp, fabric.global_rank)
    if not plan:
        return

    images, left = sum(len(piece.records) for piece in pieces), sum(len(records) for _, records in plan)
    done, whole = time.perf_counter(), True
    with (
        tqdm(total=images, initial=images - left, unit="image", disable=not fabric.is_global_zero) as bar,
        ThreadPoolExecutor(1) as writer,  # waits on exit, so an error or Ctrl-C loses no finished batch
    ):

        def write(batch: MaskBatch) -> None:
            nonlocal done, whole
            if not whole:  # an earlier batch failed: do not complete the shard without it
                return
            whole = False  # until this batch is written
            results = _complete(batch)
            before, done = done, time.perf_counter()
            resume.write_part(job.cache, batch.piece, results, job.stamp, done - before)
            if batch.completes:
                resume.merge(job.cache, batch.piece, job.stamp, fabric.global_rank)
            bar.update(len(results))
            whole = True

        waiting: deque[Future[None]] = deque()
        for batch in _predicted_batches(fabric, plan, job):
            waiting.append(writer.submit(write, batch))
            if len(waiting) > UNWRITTEN:
                waiting.popleft().result()
        for last in waiting:
            last.result()


def _predicted_batches(
    fabric: Fabric, plan: Sequence[tuple[Slice, list[ImageRecord]]], job: Job
) -> Iterator[MaskBatch]:
    """Yield each batch with the teacher's output as soon as its computation is queued on the device."""
    prompts = Prompts([r for _, records in plan for r in records], job.stamp.size, job.teacher.preparation())
    on_gpu = fabric.device.type == "cuda"
    batches = loader(prompts, [len(records) for _, records in plan], job.workers, pin_memory=on_gpu)
    for place, ((piece, _), loaded) in enumerate(zip(plan, batches, strict=True)):
        asked = [item for item in loaded if isinstance(item, Prompt)]
        masks, scores = run_teacher(fabric, job.teacher, asked, job.margin, job.stamp.size, job.select_by)
        completes = place + 1 == len(plan) or plan[place + 1][0] is not piece
        yield MaskBatch(piece, loaded, masks, scores, completes)


def run_teacher(
    fabric: Fabric, teacher: Teacher, prompts: Sequence[Prompt], margin: float, size: int, select_by: SelectBy = "score"
) -> tuple[Tensor, list[Tensor]]:
    """Run the teacher on some prompts; the results stay on its device.

    Returns:
        (P, S, S) uint8 pseudo-masks, and for each prompt the (N,) scores of its boxes.
    """
    if not prompts:
        return torch.zeros(0, size, size, dtype=torch.uint8), []
    boxes = [prompt.boxes_xyxy for prompt in prompts]
    frames = [(prompt.photo.shape[1], prompt.photo.shape[0]) for prompt in prompts]
    with torch.inference_mode():
        with fabric.autocast():
            proposed = teacher.propose(teacher.embed([prompt.photo for prompt in prompts]), boxes, frames)
        selected = [
            select(candidates, xyxy, margin, select_by) for candidates, xyxy in zip(proposed, boxes, strict=True)
        ]
        return torch.stack([stored(mask, size) for mask, _ in selected]), [scores for _, scores in selected]


def _complete(batch: MaskBatch) -> list[Sample | SetAside]:
    """Complete the samples of a batch with masks and scores; waits for the device."""
    masks = iter(batch.masks.cpu().numpy())
    scores = (of_image.float().cpu().numpy() for of_image in batch.scores)
    return [
        replace(item.sample, pseudo_mask=next(masks), teacher_scores=next(scores)) if isinstance(item, Prompt) else item
        for item in batch.loaded
    ]
