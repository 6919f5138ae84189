"""How many images a GPU's memory holds at once: measured in seconds at the start of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from lightning.fabric import Fabric

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import Sample
from stage1_pseudomask.engine import Job, ask
from stage1_pseudomask.loading import Prompt
from stage1_pseudomask.teachers import Teacher

ON_A_CPU = 8
"""Batch size where nothing is measured: larger batches are no faster there."""
MOST = 16
"""Largest batch; above it, published timings of Segment Anything gain nothing."""
SHARE = 0.8
"""Of the free memory that may be used; the rest is for photos with more boxes than the rehearsed ones."""
BOXES = 4
"""In each rehearsed photo."""


def tuned(fabric: Fabric, job: Job) -> Job:
    """The job, with a batch size if it has none yet. Its teacher is loaded."""
    if job.batch_size:
        return job
    return replace(job, batch_size=fitting_batch_size(fabric, job.teacher, job.stamp.size))


def fitting_batch_size(fabric: Fabric, teacher: Teacher, size: int) -> int:
    """Largest power of two that fits a GPU's memory by a rehearsal with a blank photo, or eight on a CPU.

    Args:
        fabric: launched; says where and how precisely the teacher computes.
        teacher: loaded.
        size: S, the side of stored masks in pixels.
    """
    if fabric.device.type != "cuda":
        return ON_A_CPU
    free, _ = torch.cuda.mem_get_info(fabric.device)
    return largest_fitting(_peak(fabric, teacher, size, 1), _peak(fabric, teacher, size, 2), free * SHARE)


def largest_fitting(one: float, two: float, room: float) -> int:
    """Largest power of two, at most MOST, of images that fit, when memory grows evenly with each.

    Args:
        one: bytes that one image needs.
        two: bytes that two need together.
        room: bytes there are.
    """
    fitting = 1
    while 2 * fitting <= MOST and one + (2 * fitting - 1) * max(two - one, 0) <= room:
        fitting *= 2
    return fitting


def _peak(fabric: Fabric, teacher: Teacher, size: int, images: int) -> int:
    """Bytes of GPU memory that a batch of blank photos needs on top of the weights."""
    photo = teacher.preparation()(np.zeros((1024, 1024, 3), np.uint8))
    side = len(photo)
    boxes = as_boxes([(side * 0.1, side * 0.1, side * 0.5, side * 0.5)] * BOXES)
    nothing = Sample(0, photo, photo[..., 0], None, boxes, np.zeros(BOXES, np.float32), "", "train", False, "", 1, 1)
    torch.cuda.reset_peak_memory_stats(fabric.device)
    before = torch.cuda.memory_allocated(fabric.device)
    ask(fabric, teacher, [Prompt(nothing, photo, boxes)] * images, 0.0, size)
    torch.cuda.synchronize(fabric.device)
    return torch.cuda.max_memory_allocated(fabric.device) - before
