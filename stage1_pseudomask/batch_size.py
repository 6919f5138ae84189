"""Choice of a batch size that fits into GPU memory, measured in seconds at the start of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from lightning.fabric import Fabric

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import Sample
from stage1_pseudomask.engine import Job, run_teacher
from stage1_pseudomask.loading import Prompt
from stage1_pseudomask.teachers import Teacher

ON_A_CPU = 8
"""Batch size on a CPU, where larger batches are no faster."""
MOST = 16
"""Largest batch size; published timings of Segment Anything do not improve above it."""
SHARE = 0.8
"""Fraction of free memory to use; the rest is for photos with more boxes than in the measurement."""
BOXES = 4
"""Number of boxes per photo in the measurement."""


def with_batch_size(fabric: Fabric, job: Job) -> Job:
    """Return the job with its batch size determined if it has none yet. Its teacher must be loaded."""
    if job.batch_size:
        return job
    return replace(job, batch_size=fitting_batch_size(fabric, job.teacher, job.stamp.size))


def fitting_batch_size(fabric: Fabric, teacher: Teacher, size: int) -> int:
    """Return the largest power of two that fits into GPU memory, measured with a blank photo; 8 on a CPU.

    Args:
        fabric: launched; determines device and precision.
        teacher: loaded.
        size: S, the side of stored masks in pixels.
    """
    if fabric.device.type != "cuda":
        return ON_A_CPU
    free, _ = torch.cuda.mem_get_info(fabric.device)
    return largest_fitting(_peak(fabric, teacher, size, 1), _peak(fabric, teacher, size, 2), free * SHARE)


def largest_fitting(one: float, two: float, room: float) -> int:
    """Return the largest power of two, at most MOST, of images that fit, assuming linear growth of memory.

    Args:
        one: bytes needed by one image.
        two: bytes needed by two images.
        room: available bytes.
    """
    fitting = 1
    while 2 * fitting <= MOST and one + (2 * fitting - 1) * max(two - one, 0) <= room:
        fitting *= 2
    return fitting


def _peak(fabric: Fabric, teacher: Teacher, size: int, images: int) -> int:
    """Measure the GPU memory in bytes that a batch of blank photos needs in addition to the weights."""
    photo = teacher.preparation()(np.zeros((1024, 1024, 3), np.uint8))
    side = len(photo)
    boxes = as_boxes([(side * 0.1, side * 0.1, side * 0.5, side * 0.5)] * BOXES)
    nothing = Sample(0, photo, photo[..., 0], None, boxes, np.zeros(BOXES, np.float32), "", "train", False, "", 1, 1)
    torch.cuda.reset_peak_memory_stats(fabric.device)
    before = torch.cuda.memory_allocated(fabric.device)
    run_teacher(fabric, teacher, [Prompt(nothing, photo, boxes)] * images, 0.0, size)
    torch.cuda.synchronize(fabric.device)
    return torch.cuda.max_memory_allocated(fabric.device) - before
