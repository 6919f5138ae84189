"""Torch datasets: pseudo-masks from a cache for training, photos with ground truth for scoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

import albumentations as A
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from boxpromptiml import boxes, images
from boxpromptiml.manifest import Manifest, ManifestError
from boxpromptiml.records import Batch, ImageRecord
from boxpromptiml.shards import ShardReader


class PseudoMaskDataset(Dataset[Batch]):
    """Samples of one or more caches as items of a `Batch` (without the batch dimension).

    A key is a position, or a position and the seed of its augmentation, as `SeededDraws` gives them.

    Args:
        readers: the caches, already narrowed to a split.
        transform: an albumentations Compose over ``image`` and ``masks`` that ends at the student's size.
        authentic: also serve authentic images.
    """

    def __init__(self, readers: Sequence[ShardReader], transform: A.Compose, authentic: bool = True) -> None:
        self.readers = readers
        self.transform = transform
        self.places = [
            (which, index)
            for which, reader in enumerate(readers)
            for index in range(len(reader))
            if authentic or not reader.authentic[index]
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: int | tuple[int, int]) -> Batch:
        position, seed = key if isinstance(key, tuple) else (key, 0)
        which, index = self.places[position]
        sample = self.readers[which][index]
        size = sample.image.shape[0]
        box_mask = boxes.rasterize(sample.boxes_xyxy, size, size).astype(np.uint8) * 255
        truth = np.zeros_like(box_mask) if sample.truth is None else sample.truth
        self.transform.set_random_seed(seed)
        moved = self.transform(image=sample.image, masks=[sample.pseudo_mask, box_mask, truth])
        pseudo_mask, box_mask, truth = moved["masks"]
        return Batch(
            image=image_tensor(moved["image"]),
            pseudo_mask=_mask_tensor(pseudo_mask),
            box_mask=(_mask_tensor(box_mask) >= 0.5).float(),
            weight=torch.tensor(1.0),
            truth=(_mask_tensor(truth) >= 0.5).float(),
            has_truth=torch.tensor(sample.truth is not None),
            image_id=torch.tensor(sample.image_id),
        )


class SeededDraws(DistributedSampler[Batch]):
    """Shuffled positions, each with the seed of its augmentation, from the run's seed and the epoch alone.

    So a resumed run, and one with other loader workers, sees the samples of the uninterrupted one bit by bit.

    Args:
        dataset: whose positions are drawn.
        world_size: number of processes that share them.
        rank: of this process.
        seed: of the run.
        first_epoch: the epoch that is drawn first; every further pass draws the next one.

    Attributes:
        next_epoch: that the next pass will draw. It is counted here because Lightning tells a sampler its epoch too
            late when a run resumes with loader workers: they have fetched their first batches by then.
    """

    def __init__(self, dataset: PseudoMaskDataset, world_size: int, rank: int, seed: int, first_epoch: int = 0) -> None:
        super().__init__(dataset, world_size, rank, seed=seed)
        self.next_epoch = first_epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        epoch, self.next_epoch = self.next_epoch, self.next_epoch + 1
        self.set_epoch(epoch)
        positions: list[int] = list(super().__iter__())  # type: ignore[arg-type]
        for position in positions:
            yield position, int(np.random.SeedSequence([self.seed, epoch, position]).generate_state(1)[0])


class ScoredItem(TypedDict):
    """One photo to be scored.

    Attributes:
        image: (3, S, S) float in [0, 1] at the student's size; zeros when the photo cannot be scored.
        truth: (H, W) bool at the photo's own size, True = manipulated; None when the photo cannot be scored.
        index: position in the test set's records.
        problem: why the photo cannot be scored, or an empty string.
    """

    image: Tensor
    truth: Tensor | None
    index: int
    problem: str


class ScoredBatch(TypedDict):
    """Photos to be scored; truths keep their own sizes, so they stay a list. See `ScoredItem`."""

    image: Tensor
    truth: list[Tensor | None]
    index: list[int]
    problem: list[str]


class ScoredDataset(Dataset[ScoredItem]):
    """Photos of one test set with their ground truth.

    Args:
        records: what to score. An authentic image needs no mask.
        size: the student's input size in pixels.
    """

    def __init__(self, records: Sequence[ImageRecord], size: int) -> None:
        self.records = records
        self.size = size

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> ScoredItem:
        try:
            photo, truth = _photo_and_truth(self.records[index])
        except images.ImageError as error:
            blank = torch.zeros(3, self.size, self.size)
            return ScoredItem(image=blank, truth=None, index=index, problem=str(error))
        image = image_tensor(images.resize_photo(photo, self.size, self.size))
        return ScoredItem(image=image, truth=torch.from_numpy(truth), index=index, problem="")


def collate_scored(items: list[ScoredItem]) -> ScoredBatch:
    """Stack what can be stacked."""
    return ScoredBatch(
        image=torch.stack([item["image"] for item in items]),
        truth=[item["truth"] for item in items],
        index=[item["index"] for item in items],
        problem=[item["problem"] for item in items],
    )


def scorable(manifest: Manifest) -> list[ImageRecord]:
    """Records of a manifest's test split, all of which have ground truth.

    Raises:
        ManifestError: there is none, or a manipulated image has no ground truth.
    """
    records = [record for record in manifest.records if record.split == "test"]
    if not records:
        raise ManifestError(f'{manifest.path}: no image has "split": "test"; mark the images to score')
    for record in records:
        if not record.authentic and record.mask_path is None:
            raise ManifestError(f"{manifest.path}: {record.path.name} has no mask_file; scores need ground truth")
    return records


def _photo_and_truth(record: ImageRecord) -> tuple[images.Photo, images.Mask]:
    photo = images.read_photo(record.path)
    height, width = photo.shape[:2]
    if record.mask_path is None:
        return photo, np.zeros((height, width), bool)
    return photo, images.read_mask(record.mask_path, (width, height))


def image_tensor(photo: images.Photo) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))).float().div_(255)


def _mask_tensor(mask: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask)).float().div_(255)[None]
