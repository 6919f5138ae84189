"""Test sets: photos with ground truth, read in loader workers and optionally degraded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from boxpromptiml import images
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import Manifest, ManifestError
from boxpromptiml.runtime.processes import loader_processes
from stage2_distill.data.degradations import Degradation
from stage2_distill.data.preprocessing import student_input


class ScoredItem(TypedDict):
    """A test photo.

    Attributes:
        image: (3, S, S) float in [0, 1] at the student's size; zeros if the photo cannot be scored.
        truth: ground truth, (H, W) bool at the size of the (degraded) photo; None if the photo cannot be scored.
        index: position in the test set's records.
        problem: why the photo cannot be scored, or an empty string.
    """

    image: Tensor
    truth: Tensor | None
    index: int
    problem: str


class ScoredBatch(TypedDict):
    """A batch of test photos. Ground-truth masks stay a list because their sizes differ. See `ScoredItem`."""

    image: Tensor
    truth: list[Tensor | None]
    index: list[int]
    problem: list[str]


class ScoredDataset(Dataset[ScoredItem]):
    """Photos of one test set with their ground truth.

    Args:
        records: images to score. An authentic image needs no mask.
        size: side of the student's input in pixels.
        degradation: applied to each photo at its own resolution, before it is resized.
    """

    def __init__(self, records: Sequence[ImageRecord], size: int, degradation: Degradation | None = None) -> None:
        self.records = records
        self.size = size
        self.degradation = degradation

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> ScoredItem:
        try:
            photo, mask = images.read_record(self.records[index])
            truth = np.zeros(photo.shape[:2], bool) if mask is None else mask
            if self.degradation is not None:
                photo, truth = self.degradation.apply(photo, truth, self.records[index].image_id)
        except images.ImageError as error:
            blank = torch.zeros(3, self.size, self.size)
            return ScoredItem(image=blank, truth=None, index=index, problem=_about(self.records[index], error))
        image = student_input(photo, self.size)
        return ScoredItem(image=image, truth=torch.from_numpy(truth), index=index, problem="")


def collate_scored(items: list[ScoredItem]) -> ScoredBatch:
    """Collate a batch: stack the images, keep the rest as lists."""
    return ScoredBatch(
        image=torch.stack([item["image"] for item in items]),
        truth=[item["truth"] for item in items],
        index=[item["index"] for item in items],
        problem=[item["problem"] for item in items],
    )


def scorable(manifest: Manifest) -> list[ImageRecord]:
    """Return the records of a manifest's test split, all of which must have ground truth.

    Raises:
        ManifestError: the split is empty, or a manipulated image has no ground truth.
    """
    for reason in unusable(manifest):
        print(f"skipped: {reason}")
    records = [record for record in manifest.records if record.split == "test"]
    if not records:
        raise ManifestError(f'{manifest.path}: no image has "split": "test"; mark the images to score')
    for record in records:
        if not record.authentic and record.mask_path is None:
            raise ManifestError(f"{manifest.path}: {record.path.name} has no mask_file; scores need ground truth")
    return records


def unusable(manifest: Manifest) -> list[str]:
    """Return a message for each image that a manifest lists but that cannot be used."""
    return [f"{manifest.path}: {aside.file}: {aside.reason}" for aside in manifest.set_aside]


def unscored(record: ImageRecord) -> str:
    """Explain in one line, starting with a file name, why a photo has no score. Reads its files again."""
    try:
        images.read_record(record)
    except images.ImageError as error:
        return _about(record, error)
    return (
        f"{record.path}: its ground truth disappears at the student's size; score at the resolution of the ground truth"
    )


def scored_loaders(
    sets: Iterable[Sequence[ImageRecord]],
    size: int,
    batch_size: int,
    workers: int,
    degradation: Degradation | None = None,
) -> list[DataLoader[ScoredItem]]:
    """Create a loader per test set, in their order. See `ScoredDataset`."""
    return [
        DataLoader(
            ScoredDataset(records, size, degradation),
            batch_size,
            collate_fn=collate_scored,
            **loader_processes(workers, ScoredDataset.__module__),
        )
        for records in sets
    ]


def _about(record: ImageRecord, error: images.ImageError) -> str:
    """Prefix an error with the file if it does not name one, as errors from degradations do not."""
    names = [str(file) for file in (record.path, record.mask_path) if file is not None]
    return str(error) if str(error).startswith(tuple(names)) else f"{record.path}: {error}"
