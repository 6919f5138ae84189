"""Reading and resizing of images for the teacher, in loader workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from boxpromptiml.core import boxes as box_geometry
from boxpromptiml.core.boxes import Boxes
from boxpromptiml.core.records import ImageRecord, Sample, SetAside
from boxpromptiml.images import ImageError, Photo, read_record, resize_mask, resize_photo
from boxpromptiml.runtime.processes import loader_processes


@dataclass(frozen=True, slots=True)
class Prompt:
    """An image to be processed by the teacher.

    Attributes:
        sample: complete except for pseudo-mask and scores, which are zero.
        photo: resized for the teacher.
        boxes_xyxy: (N, 4) boxes in the frame of ``photo``.
    """

    sample: Sample
    photo: Photo
    boxes_xyxy: Boxes

    def pin_memory(self) -> Prompt:
        """Copy the photo to pinned memory; called by the loader if there is a GPU."""
        return replace(self, photo=torch.from_numpy(self.photo).pin_memory().numpy())


class Prompts(Dataset[Prompt | Sample | SetAside]):
    """Dataset of the images of some records.

    An item is a prompt; for an authentic image, which needs no teacher, it is the sample with an empty mask; for an
    unusable image it is the reason.

    Args:
        records: images to read.
        size: S, the side of stored images and masks in pixels.
        prepare: resizes a photo for the teacher.
    """

    def __init__(self, records: Sequence[ImageRecord], size: int, prepare: Callable[[Photo], Photo]) -> None:
        self.records = records
        self.size = size
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, i: int) -> Prompt | Sample | SetAside:
        record = self.records[i]
        try:
            return self._read(record)
        except ImageError as error:
            reason = str(error).removeprefix(f"{record.path}: ")
            return SetAside(record.image_id, str(record.path), reason)

    def _read(self, record: ImageRecord) -> Prompt | Sample:
        photo, mask = read_record(record)
        height, width = photo.shape[:2]
        truth = None if mask is None else resize_mask(mask, self.size, self.size).astype(np.uint8) * 255
        sample = Sample(
            image_id=record.image_id,
            image=resize_photo(photo, self.size, self.size),
            pseudo_mask=np.zeros((self.size, self.size), np.uint8),
            truth=truth,
            boxes_xyxy=box_geometry.scale(record.boxes_xyxy, self.size / width, self.size / height),
            teacher_scores=np.zeros(len(record.boxes_xyxy), np.float32),
            source=record.source,
            split=record.split,
            authentic=record.authentic,
            kind=record.kind or "",
            width=width,
            height=height,
        )
        if record.authentic:
            return sample
        prepared = self.prepare(photo)
        factors = prepared.shape[1] / width, prepared.shape[0] / height
        return Prompt(sample, prepared, box_geometry.scale(record.boxes_xyxy, *factors))


def loader(
    prompts: Prompts, batch_sizes: Sequence[int], workers: int, pin_memory: bool = False
) -> DataLoader[Prompt | Sample | SetAside]:
    """Create a loader of all prompts in order, in batches of the given lengths."""
    ends = np.cumsum(batch_sizes).tolist()
    batches = [list(range(end - count, end)) for count, end in zip(batch_sizes, ends, strict=True)]
    return DataLoader(
        prompts,
        batch_sampler=batches,
        collate_fn=list,
        pin_memory=pin_memory,
        **loader_processes(workers, __name__),
    )
