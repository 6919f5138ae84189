"""The DataModule: caches and streams for training, caches for validation, manifests for testing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import lightning as L
import torch
from torch.utils.data import DataLoader

from boxpromptiml.core.limits import Count, NotNegative, Share, Side, Workers, within_limits
from boxpromptiml.core.records import Batch, ImageRecord, Split
from boxpromptiml.manifests.manifest import ManifestError, read_manifest
from boxpromptiml.runtime.processes import loader_processes
from boxpromptiml.shards import CacheError, ShardReader, read_index
from stage2_distill.data.augmentation import Augmentation, training_transform
from stage2_distill.data.dataset import (
    PackedBatch,
    PackedItem,
    PseudoMaskDataset,
    SampleStream,
    unpack,
)
from stage2_distill.data.preprocessing import Resize
from stage2_distill.data.sampling import Mixture, SeededDraws
from stage2_distill.data.target import Target
from stage2_distill.data.test_set import ScoredBatch, ScoredItem, scorable, scored_loaders, unusable

V = TypeVar("V")


class PseudoMaskData(L.LightningDataModule):
    """Training and validation samples from the caches of stage one, test photos from manifests.

    Args:
        caches: folders written by `boxpromptiml pseudomasks`; their train splits and, unless ``val_sets`` is given,
            their val splits are used.
        streams: sources of generated training samples, new ones in every epoch, in addition to the caches.
        source_weights: source → its fraction of the training samples drawn, from 0 to 1. Sources not named share the
            rest in proportion to their sizes. None draws every sample once per epoch, whatever its source.
        epoch_size: number of training samples drawn per epoch; None for as many as there are.
        val_sets: name → cache or caches whose val splits form one validation set; None for the val splits of
            ``caches``, with a set per source. Each set is reported separately.
        test_sets: name → manifest with ground truth; each set is reported separately.
        image_size: side in pixels of the student's input.
        batch_size: images per step and process.
        workers: loader processes; 0 loads in the training process.
        authentic: also train on authentic images, with an empty target.
        augmentation: settings for augmenting the training samples.
        confidence_power: exponent of the teacher's confidence in a training sample, which gives its weight in the loss;
            0 weights all samples equally.
        target: mask used as training target; validation always compares with the teacher's mask.
    """

    @within_limits
    def __init__(
        self,
        caches: list[str],
        streams: list[SampleStream] | None = None,
        source_weights: dict[str, Share] | None = None,
        epoch_size: Count | None = None,
        val_sets: dict[str, str | list[str]] | None = None,
        test_sets: dict[str, str] | None = None,
        image_size: Side = 224,
        batch_size: Count = 16,
        workers: Workers = 4,
        authentic: bool = False,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 (frozen)
        confidence_power: NotNegative = 0.0,
        target: Target = Target(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.caches = caches
        self.streams = streams or []
        self.source_weights = _by_text(source_weights)
        self.epoch_size = epoch_size
        self.val_sets = _by_text(val_sets)
        self.test_manifests = _by_text(test_sets) or {}
        self.image_size = image_size
        self.batch_size = batch_size
        self.workers = workers
        self.authentic = authentic
        self.augmentation = augmentation
        self.confidence_power = confidence_power
        self.target = target
        self._first_epoch = 0
        self._draws: SeededDraws | None = None
        self.test_records: dict[str, list[ImageRecord]] = {}
        self.unusable: dict[str, list[str]] = {}
        """Test set → images that its manifest lists but that cannot be used, with the reason."""

    def setup(self, stage: str) -> None:
        """Open the caches (fit, validate) or read the manifests (test)."""
        if stage in ("fit", "validate"):
            _refuse_twice(self.caches)
        if stage == "fit":
            self.train_set = self._training_set()
            weights, epoch_size = self.source_weights, self.epoch_size
            self.mixture = Mixture(self.train_set.sources, self.train_set.source_of, weights, epoch_size)
            if self.trainer is None or self.trainer.is_global_zero:
                print(self.mixture)
                for remark in self._enlarged():
                    print(remark)
        if stage in ("fit", "validate"):
            self.val_set = self._validation_set()
        if stage == "test":
            if not self.test_manifests:
                raise ManifestError("no test set is given; set data.test_sets, such as {casia1: data/casia1.json}")
            manifests = {name: read_manifest(Path(path)) for name, path in self.test_manifests.items()}
            self.test_records = {name: scorable(manifest) for name, manifest in manifests.items()}
            self.unusable = {name: unusable(manifest) for name, manifest in manifests.items()}

    def train_dataloader(self) -> DataLoader[PackedItem]:
        """Shuffled batches; an incomplete last batch is dropped to keep batch statistics comparable."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # set by Lightning
        world_size, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        self._draws = SeededDraws(self.mixture, world_size, rank, seed, self._first_epoch)
        return self._loader(self.train_set, self._draws)

    def val_dataloader(self) -> DataLoader[PackedItem]:
        """Batches of the validation sets."""
        return self._loader(self.val_set)

    def on_after_batch_transfer(self, batch: PackedBatch | ScoredBatch, dataloader_idx: int) -> Batch | ScoredBatch:
        """Convert bytes to floats on the device, so that workers and bus transfer a quarter of the data."""
        return unpack(batch) if "pseudo_mask" in batch else batch  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, int]:
        """Return the number of epochs drawn, so that a resumed run continues with the next one."""
        return {"next_epoch": self._draws.next_epoch if self._draws else self._first_epoch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the number of epochs drawn."""
        self._first_epoch = state_dict["next_epoch"]

    def test_dataloader(self) -> list[DataLoader[ScoredItem]]:
        """One loader per test set, in the order of the configuration."""
        return scored_loaders(self.test_records.values(), self.image_size, self.batch_size, self.workers)

    def _enlarged(self) -> list[str]:
        """Return a warning for each cache whose images are smaller than the student's input."""
        sizes = {cache: read_index(Path(cache)).stamp.size for cache in self.caches}
        return [
            f"{cache}: its images have {size} pixels and are enlarged to the student's {self.image_size}; run "
            f"`boxpromptiml pseudomasks --size {self.image_size}` for sharp ones"
            for cache, size in sizes.items()
            if size < self.image_size
        ]

    def _training_set(self) -> PseudoMaskDataset:
        readers = _readers(self.caches, "train")
        transform = training_transform(self.image_size, self.augmentation)
        dataset = PseudoMaskDataset(
            readers,
            transform,
            self.authentic,
            self.streams,
            confidence_power=self.confidence_power,
            target=self.target,
        )
        if not len(dataset):
            raise _no_sample(self.caches, "train")
        return dataset

    def _validation_set(self) -> PseudoMaskDataset:
        sets = {name: [of] if isinstance(of, str) else of for name, of in (self.val_sets or {}).items()}
        names = [name for name, caches in sets.items() for _ in caches]
        caches = [cache for caches in sets.values() for cache in caches] or self.caches
        transform = Resize(self.image_size)
        dataset = PseudoMaskDataset(_readers(caches, "val"), transform, self.authentic, names=names or None)
        without = [of for name, of in sets.items() if name not in dataset.sources]
        if without or not len(dataset):
            raise _no_sample([*without, caches][0], "val")
        return dataset

    def _loader(self, dataset: PseudoMaskDataset, draws: SeededDraws | None = None) -> DataLoader[PackedItem]:
        return DataLoader(
            dataset,
            self.batch_size,
            sampler=draws,
            drop_last=draws is not None and len(draws) > self.batch_size,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            **loader_processes(self.workers, PseudoMaskDataset.__module__),
        )


def _refuse_twice(caches: Sequence[str]) -> None:
    places = [Path(cache).resolve() for cache in caches]
    if twice := [cache for cache, place in zip(caches, places, strict=True) if places.count(place) > 1]:
        raise CacheError(
            f"{twice[0]}: listed twice, so each of its samples would count twice; list it once "
            "(data.source_weights sets the share of a source)"
        )


def _readers(caches: Sequence[str], split: Split) -> list[ShardReader]:
    return [ShardReader(Path(cache), [split]) for cache in caches]


def _no_sample(caches: Sequence[str], split: Split) -> CacheError:
    if not caches:
        return CacheError(f"no cache for the {split} split; set data.{'val_sets' if split == 'val' else 'caches'}")
    return CacheError(
        f"{', '.join(caches)}: no sample in the {split} split; mark some images of the manifest "
        f'"split": "{split}" and run `boxpromptiml pseudomasks` on it'
    )


def _by_text(named: dict[str, V] | None) -> dict[str, V] | None:
    """Convert names to texts: in YAML they may be numbers."""
    return None if named is None else {str(name): value for name, value in named.items()}
