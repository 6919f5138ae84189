"""The loop of stage one: load a batch, ask the teacher, keep the answer. One process of possibly many."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightning.fabric import Fabric
from tqdm import tqdm

from boxpromptiml.images import resize_probability, to_uint8
from boxpromptiml.records import ImageRecord, Sample, Stamp
from stage1_pseudomask import resume
from stage1_pseudomask.loading import Prompt, Prompts, loader
from stage1_pseudomask.resume import Slice
from stage1_pseudomask.selection import select
from stage1_pseudomask.teachers import Teacher


@dataclass(frozen=True, slots=True)
class Job:
    """What all batches of a run have in common; see the arguments of ``pseudomasks``. The teacher is loaded."""

    cache: Path
    stamp: Stamp
    teacher: Teacher
    margin: float
    batch_size: int
    workers: int


def compute(fabric: Fabric, pieces: Sequence[Slice], job: Job) -> None:
    """Finish the shards that fall to this process, keeping every batch as soon as it is done.

    Args:
        fabric: launched; says which process this is, and where and how precisely the teacher computes.
        pieces: this process's unfinished shards.
        job: what to do.

    Raises:
        CacheError: a part on disk is damaged, or a file cannot be written.
    """
    batches: list[tuple[Slice, list[ImageRecord]]] = []
    for piece in pieces:
        todo = resume.pending(job.cache, piece, job.stamp)
        batches += [(piece, todo[first : first + job.batch_size]) for first in range(0, len(todo), job.batch_size)]
        if not todo:  # killed between its last batch and the merge
            resume.merge(job.cache, piece, job.stamp, fabric.global_rank)
    if not batches:
        return

    prompts = Prompts([record for _, batch in batches for record in batch], job.stamp.size, job.teacher.preparation())
    loaded_batches = loader(prompts, [len(batch) for _, batch in batches], job.workers)
    images = sum(len(piece.records) for piece in pieces)
    with tqdm(total=images, initial=images - len(prompts), unit="image", disable=not fabric.is_global_zero) as bar:
        started = time.perf_counter()
        for place, ((piece, batch), loaded) in enumerate(zip(batches, loaded_batches, strict=True)):
            with fabric.autocast():
                answers = _ask(job.teacher, [item for item in loaded if isinstance(item, Prompt)], job.margin)
                results = [next(answers) if isinstance(item, Prompt) else item for item in loaded]
            started, seconds = time.perf_counter(), time.perf_counter() - started
            resume.write_part(job.cache, piece, results, job.stamp, seconds)
            if place + 1 == len(batches) or batches[place + 1][0] is not piece:
                resume.merge(job.cache, piece, job.stamp, fabric.global_rank)
            bar.update(len(batch))


def _ask(teacher: Teacher, prompts: Sequence[Prompt], margin: float) -> Iterator[Sample]:
    """Complete the samples of some prompts."""
    if not prompts:
        return
    boxes = [prompt.boxes_xyxy for prompt in prompts]
    frames = [(prompt.photo.shape[1], prompt.photo.shape[0]) for prompt in prompts]
    proposed = teacher.propose(teacher.embed([prompt.photo for prompt in prompts]), boxes, frames)
    for prompt, candidates in zip(prompts, proposed, strict=True):
        probability, scores = select(candidates, prompt.boxes_xyxy, margin)
        size = len(prompt.sample.image)
        mask = to_uint8(resize_probability(probability, size, size))
        yield replace(prompt.sample, pseudo_mask=mask, teacher_scores=scores)
