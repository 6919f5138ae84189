"""Dataset of training and validation samples from caches and streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from boxpromptiml.core import boxes
from boxpromptiml.core.records import Batch, Sample
from stage2_distill.data.preprocessing import Resize
from stage2_distill.data.target import Target, training_mask

if TYPE_CHECKING:  # only augmentation.py imports it, after disabling its online check for updates
    import albumentations as A

Reference = Literal["pseudo_mask", "truth"]
"""What predictions are compared with."""


class SampleReader(Protocol):
    """A collection of stored samples, such as a `ShardReader`.

    Attributes:
        authentic: (n,) bool.
        sources: (n,) str.
    """

    authentic: NDArray[np.bool_]
    sources: NDArray[np.str_]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class SampleStream(Protocol):
    """A source of generated samples. Has to be picklable, because it is sent to loader workers.

    Attributes:
        authentic: (n,) bool, the same for every seed.
        sources: (n,) str, the same for every seed.
    """

    authentic: NDArray[np.bool_]
    sources: NDArray[np.str_]

    def __len__(self) -> int: ...

    def draw(self, index: int, seed: int) -> Sample:
        """Create the sample determined by ``index`` and ``seed``, in [0, 2³²); its pseudo-mask is the exact mask."""
        ...


class PackedItem(TypedDict):
    """A sample on its way from a loader worker to the device: as bytes, a quarter of its size as floats.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        pseudo_mask: training target, (H, W) uint8, probability × 255.
        box_mask: (H, W) uint8, 128 or more inside any box.
        truth: ground truth, (H, W) uint8, 128 or more where manipulated; all 0 if there is none.
        weight: weight of the sample in the loss.
        has_truth: whether there is ground truth.
        image_id: COCO image id.
        position: index in the dataset; unlike image ids, unique across several sets.
    """

    image: NDArray[np.uint8]
    pseudo_mask: NDArray[np.uint8]
    box_mask: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    weight: float
    has_truth: bool
    image_id: int
    position: int


class PackedBatch(TypedDict):
    """A batch of `PackedItem`, stacked into tensors."""

    image: Tensor
    pseudo_mask: Tensor
    box_mask: Tensor
    truth: Tensor
    weight: Tensor
    has_truth: Tensor
    image_id: Tensor
    position: Tensor


def unpack(batch: PackedBatch) -> Batch:
    """Convert a batch to the format of the student's module, on the device of its tensors."""
    image = batch["image"].permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return Batch(
        image=image.div_(255),
        pseudo_mask=batch["pseudo_mask"].float().div_(255)[:, None],
        box_mask=(batch["box_mask"] >= 128).float()[:, None],
        weight=batch["weight"].float(),
        truth=(batch["truth"] >= 128).float()[:, None],
        has_truth=batch["has_truth"],
        image_id=batch["image_id"],
        position=batch["position"],
    )


class PseudoMaskDataset(Dataset[PackedItem]):
    """Samples of caches and streams.

    A key is an index, or an index with the seed of its augmentation, as drawn by `SeededDraws`.

    Args:
        readers: caches, already restricted to a split; their samples come first.
        transform: transformation of ``image`` and ``masks`` to the student's size; see `augmentation`.
        authentic: include authentic images.
        streams: sources of generated samples, a new one for every seed.
        names: one name per reader and stream, replacing the sources of its samples.
        confidence_power: a sample's weight is the teacher's confidence (see `Sample.confidence`) to this power; 0
            weights all samples equally.
        target: mask used as target.

    Attributes:
        sources: sorted names of the sources; ``unnamed`` for samples without source.
        source_of: (n,) index in ``sources`` of each sample.
        authentic: (n,) bool.
    """

    def __init__(
        self,
        readers: Sequence[SampleReader],
        transform: A.Compose | Resize,
        authentic: bool = True,
        streams: Sequence[SampleStream] = (),
        names: Sequence[str] | None = None,
        confidence_power: float = 0.0,
        target: Target = Target(),  # noqa: B008 (frozen)
    ) -> None:
        self.readers = readers
        self.target = target
        self.confidence_power = confidence_power
        self.transform = transform
        self.streams = streams
        origins: list[SampleReader | SampleStream] = [*readers, *streams]
        served = [np.arange(len(o)) if authentic else np.flatnonzero(~np.asarray(o.authentic)) for o in origins]
        self._origin_of = np.repeat(np.arange(len(origins)), [len(indices) for indices in served])
        self._index_of = np.concatenate([np.zeros(0, int), *served])
        flags = [np.asarray(origin.authentic)[kept] for origin, kept in zip(origins, served, strict=True)]
        self.authentic: NDArray[np.bool_] = np.concatenate([np.zeros(0, bool), *flags])
        if names is None:
            stated = [np.asarray(origin.sources)[kept] for origin, kept in zip(origins, served, strict=True)]
            origin_names = np.concatenate([np.zeros(0, str), *stated])
        else:
            origin_names = np.array(names)[self._origin_of]
        found, self.source_of = np.unique(np.where(origin_names == "", "unnamed", origin_names), return_inverse=True)
        self.sources: list[str] = found.tolist()

    def __len__(self) -> int:
        return len(self._index_of)

    def __getitem__(self, key: int | tuple[int, int]) -> PackedItem:
        position, seed = key if isinstance(key, tuple) else (key, 0)
        sample = self.sample(position, seed)
        size = sample.image.shape[0]
        box_mask = boxes.rasterize(sample.boxes_xyxy, size, size).view(np.uint8) * np.uint8(255)
        truth = np.zeros_like(box_mask) if sample.truth is None else sample.truth
        self.transform.set_random_seed(seed)
        moved = self.transform(image=sample.image, masks=[training_mask(sample, self.target), box_mask, truth])
        pseudo_mask, box_mask, truth = map(np.ascontiguousarray, moved["masks"])
        return PackedItem(
            image=np.ascontiguousarray(moved["image"]),
            pseudo_mask=pseudo_mask,
            box_mask=box_mask,
            truth=truth,
            weight=sample.confidence**self.confidence_power,
            has_truth=sample.truth is not None,
            image_id=sample.image_id,
            position=position,
        )

    def sample(self, position: int, seed: int = 0) -> Sample:
        """Return the stored sample at an index, or the one that its stream generates from a seed."""
        origin, index = int(self._origin_of[position]), int(self._index_of[position])
        if origin < len(self.readers):
            return self.readers[origin][index]
        return self.streams[origin - len(self.readers)].draw(index, seed)


def target_of(batch: Batch, against: Reference) -> tuple[Tensor, Tensor]:
    """Return the reference masks for scoring predictions, and which images of the batch can be scored.

    Returns:
        (B, 1, H, W) in [0, 1], manipulated above 0.5; (B,) bool, True for images with boxes (that is, not authentic)
        and, against ground truth, only if it is not empty.
    """
    boxed = batch["box_mask"].flatten(1).any(1)
    if against == "pseudo_mask":
        return batch["pseudo_mask"], boxed
    return batch["truth"], boxed & batch["has_truth"] & batch["truth"].flatten(1).any(1)
