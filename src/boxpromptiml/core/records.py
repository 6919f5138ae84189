"""Frozen records that the stages exchange, and `InputError`. Nothing here reads files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch takes seconds to import and only annotations need it here
    from typing import NotRequired

    from torch import Tensor

Split = Literal["train", "val", "test"]
LARGEST_ID = 2**63 - 1
"""Largest image id, because shards store ids as int64."""


class InputError(ValueError):
    """Input that cannot be used. The message is one line: what was found, where, and what to do."""

    def __str__(self) -> str:
        """Return the message on one line, with control characters (possible in file names) escaped."""
        line = " ".join(super().__str__().splitlines())
        return "".join(repr(letter)[1:-1] if category(letter) == "Cc" else letter for letter in line)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a manifest, with resolved paths.

    Attributes:
        image_id: COCO image id, unique within a manifest.
        path: the image file.
        width: pixels.
        height: pixels.
        boxes_xyxy: (N, 4) float32 boxes in pixels of the upright image; N is 0 for an authentic image.
        split: train, val or test.
        source: name of the data set.
        mask_path: ground-truth mask (non-zero = manipulated), or None.
        authentic: True if nothing in the image was manipulated.
        kind: type of manipulation (``splice``, ``copy_move``, ``removal``), if known.
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes_xyxy: NDArray[np.float32]
    split: Split
    source: str
    mask_path: Path | None = None
    authentic: bool = False
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample as stored in a shard, at the shard's size S.

    Attributes:
        image_id: COCO image id.
        image: (S, S, 3) uint8 RGB.
        pseudo_mask: (S, S) uint8, the teacher's probability × 255.
        truth: ground truth, (S, S) uint8, 0 or 255; None if there is none.
        boxes_xyxy: (N, 4) float32 boxes in pixels of the S × S frame.
        teacher_scores: (N,) float32 in [0, 1], the teacher's confidence in its mask for each box.
        source: name of the data set.
        split: train, val or test.
        authentic: True if nothing was manipulated; the pseudo-mask is then empty.
        kind: type of manipulation, or an empty string.
        width: width of the original image in pixels.
        height: height of the original image in pixels.
    """

    image_id: int
    image: NDArray[np.uint8]
    pseudo_mask: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    boxes_xyxy: NDArray[np.float32]
    teacher_scores: NDArray[np.float32]
    source: str
    split: Split
    authentic: bool
    kind: str
    width: int
    height: int

    @property
    def has_empty_truth(self) -> bool:
        """Whether a manipulated image's ground truth is empty, so that it can be neither scored nor learned from."""
        return not self.authentic and self.truth is not None and not self.truth.any()

    @property
    def confidence(self) -> float:
        """The teacher's confidence in the pseudo-mask, in [0, 1]: Σ aᵢ sᵢ / Σ aᵢ over boxes of area aᵢ and score sᵢ.

        It is 1 for an image without boxes, where the teacher was not used. The formula is ours.
        """
        sides = np.clip(self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2], 0, None)
        areas = sides.prod(axis=1, dtype=np.float64)
        return float(areas @ self.teacher_scores / areas.sum()) if areas.any() else 1.0


@dataclass(frozen=True, slots=True)
class SetAside:
    """An input that was skipped, with the reason."""

    image_id: int
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """What produced a cache. Shards with different stamps are never mixed.

    Attributes:
        schema: version of the shard layout.
        size: S, the side of images and masks in pixels.
        teacher: name of the teacher, such as ``sam_vit_h`` or ``grabcut``.
        weights_sha256: hash of the teacher's weight file; empty for a teacher without weights.
        config_hash: hash of everything that determines the pseudo-masks, including the manifest.
        package_version: version of this package.
    """

    schema: int
    size: int
    teacher: str
    weights_sha256: str
    config_hash: str
    package_version: str


class Batch(TypedDict):
    """A batch for the student's LightningModule.

    Attributes:
        image: (B, 3, H, W) float in [0, 1], RGB. The student normalizes it.
        pseudo_mask: (B, 1, H, W) float in [0, 1].
        box_mask: (B, 1, H, W) float, 1 inside any box.
        weight: (B,) float, weight of the sample in the loss.
        truth: ground truth, (B, 1, H, W) float in {0, 1}; all 0 if there is none.
        has_truth: (B,) bool, whether there is ground truth.
        image_id: (B,) int64.
        position: (B,) int64, index in the dataset; unlike image ids, unique across several sets.
    """

    image: Tensor
    pseudo_mask: Tensor
    box_mask: Tensor
    weight: Tensor
    truth: NotRequired[Tensor]
    has_truth: NotRequired[Tensor]
    image_id: Tensor
    position: NotRequired[Tensor]
