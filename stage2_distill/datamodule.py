"""The DataModule: caches to train and validate on, manifests to test on."""

from __future__ import annotations

import os
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from boxpromptiml.manifest import ManifestError, read_manifest
from boxpromptiml.records import Batch, ImageRecord, Split
from boxpromptiml.shards import CacheError, ShardReader
from stage2_distill.augment import Augmentation, evaluation_transform, training_transform
from stage2_distill.dataset import PseudoMaskDataset, ScoredDataset, SeededDraws, collate_scored, scorable


class PseudoMaskData(L.LightningDataModule):
    """Training and validation samples from stage one's caches, test photos from manifests.

    Args:
        caches: folders that `boxpromptiml pseudomasks` wrote; their train and val splits are used.
        test_sets: name → manifest with ground truth; each name gets a row of its own in the scores.
        image_size: side in pixels that the student sees.
        batch_size: images a step and process.
        workers: loader processes; 0 loads in the training process.
        authentic: also train on authentic images, whose target is empty.
        augmentation: how training samples are varied.
    """

    def __init__(
        self,
        caches: list[str],
        test_sets: dict[str, str] | None = None,
        image_size: int = 224,
        batch_size: int = 16,
        workers: int = 4,
        authentic: bool = False,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.caches = caches
        self.test_manifests = test_sets or {}
        self.image_size = image_size
        self.batch_size = batch_size
        self.workers = workers
        self.authentic = authentic
        self.augmentation = augmentation
        self._first_epoch = 0
        self._draws: SeededDraws | None = None
        self.test_records: dict[str, list[ImageRecord]] = {}

    def setup(self, stage: str) -> None:
        """Open the caches for fit and validate, read the manifests for test."""
        if stage in ("fit", "validate"):
            self.train_set = self._split("train", augment=True)
            self.val_set = self._split("val", augment=False)
        if stage == "test":
            if not self.test_manifests:
                raise ManifestError("no test set is named; add data.test_sets, such as {casia1: data/casia1.json}")
            self.test_records = {n: scorable(read_manifest(Path(p))) for n, p in self.test_manifests.items()}

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches; the last, smaller one is dropped so that batch statistics stay comparable."""
        self._draws = self._seeded_draws(self.train_set)
        return self._loader(self.train_set, self._draws)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the val split."""
        return self._loader(self.val_set)

    def state_dict(self) -> dict[str, int]:
        """How many epochs were drawn, so that a resumed run goes on with the next."""
        return {"next_epoch": self._draws.next_epoch if self._draws else self._first_epoch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take up the count."""
        self._first_epoch = state_dict["next_epoch"]

    def test_dataloader(self) -> list[DataLoader]:
        """One loader for each named set, in the order of the configuration."""
        return [
            DataLoader(
                ScoredDataset(records, self.image_size),
                self.batch_size,
                num_workers=self.workers,
                collate_fn=collate_scored,
            )
            for records in self.test_records.values()
        ]

    def _split(self, split: Split, augment: bool) -> PseudoMaskDataset:
        size = self.image_size
        transform = training_transform(size, self.augmentation) if augment else evaluation_transform(size)
        readers = [ShardReader(Path(cache), [split]) for cache in self.caches]
        dataset = PseudoMaskDataset(readers, transform, self.authentic)
        if not len(dataset):
            raise CacheError(
                f"{', '.join(self.caches)}: no sample in the {split} split; mark some images of the manifest "
                f'"split": "{split}" and run `boxpromptiml pseudomasks` on it'
            )
        return dataset

    def _loader(self, dataset: PseudoMaskDataset, draws: SeededDraws | None = None) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            self.batch_size,
            sampler=draws,
            drop_last=draws is not None and len(dataset) > self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _seeded_draws(self, dataset: PseudoMaskDataset) -> SeededDraws:
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # where Lightning keeps the run's seed
        world_size, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        return SeededDraws(dataset, world_size, rank, seed, self._first_epoch)
