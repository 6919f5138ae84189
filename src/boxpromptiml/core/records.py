"""The frozen records that cross a stage, and the one error users meet. Nothing here reads files."""

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
"""What an image id may be, because shards keep it as an int64."""


class InputError(ValueError):
    """Something a user gave cannot be used. Its text is one line that names what, where and the remedy."""

    def __str__(self) -> str:
        """The text on one line, and without the control characters that names of files can have."""
        line = " ".join(super().__str__().splitlines())
        return "".join(repr(letter)[1:-1] if category(letter) == "Cc" else letter for letter in line)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a manifest, with paths resolved.

    Attributes:
        image_id: COCO image id, unique within a manifest.
        path: the image file.
        width: pixels.
        height: pixels.
        boxes_xyxy: (N, 4) float32 corner boxes in pixels of the upright image; N is 0 for an authentic image.
        split: train, val or test.
        source: name of the set the image comes from.
        mask_path: ground truth (non-zero = manipulated), or None.
        authentic: True when nothing in the image was manipulated.
        kind: manipulation kind (``splice``, ``copy_move``, ``removal``) where it is known.
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
    """One training sample as it is stored in a shard, everything at the shard's size S.

    Attributes:
        image_id: COCO image id.
        image: (S, S, 3) uint8 RGB.
        pseudo_mask: (S, S) uint8, the teacher's probability × 255.
        truth: (S, S) uint8, 0 or 255, or None where there is no ground truth.
        boxes_xyxy: (N, 4) float32 corner boxes in pixels of the S × S frame.
        teacher_scores: (N,) float32 in [0, 1], the teacher's own confidence in the mask of each box.
        source: name of the set.
        split: train, val or test.
        authentic: True when nothing was manipulated (the pseudo-mask is then empty).
        kind: manipulation kind, or an empty string.
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
    def truth_is_lost(self) -> bool:
        """Whether the truth of a manipulated image marks nothing: there is nothing to score against or to learn."""
        return not self.authentic and self.truth is not None and not self.truth.any()

    @property
    def confidence(self) -> float:
        """How far the teacher trusts its pseudo-mask, in [0, 1]: Σ aᵢ sᵢ / Σ aᵢ over boxes of area aᵢ and score sᵢ.

        So each pixel that a box holds speaks with the box's score. Without a box, as in an authentic image, it is 1:
        nothing was asked of the teacher. The formula is ours.
        """
        sides = np.clip(self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2], 0, None)
        areas = sides.prod(axis=1, dtype=np.float64)
        return float(areas @ self.teacher_scores / areas.sum()) if areas.any() else 1.0


@dataclass(frozen=True, slots=True)
class SetAside:
    """An input that could not be used, and why."""

    image_id: int
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """What produced a cache. Shards with different stamps never mix.

    Attributes:
        schema: version of the shard layout.
        size: S, the side of images and masks in pixels.
        teacher: teacher name, such as ``sam_vit_h`` or ``grabcut``.
        weights_sha256: of the teacher's weight file; empty for a teacher without weights.
        config_hash: of everything that decides the content of a pseudo-mask, the manifest included.
        package_version: of this package.
    """

    schema: int
    size: int
    teacher: str
    weights_sha256: str
    config_hash: str
    package_version: str


class Batch(TypedDict):
    """What the student's LightningModule receives.

    Attributes:
        image: (B, 3, H, W) float in [0, 1], RGB. Normalisation happens inside the student.
        pseudo_mask: (B, 1, H, W) float in [0, 1].
        box_mask: (B, 1, H, W) float, 1 inside any box.
        weight: (B,) float, how much the sample counts in the loss.
        truth: (B, 1, H, W) float in {0, 1}; 0 everywhere where there is no ground truth.
        has_truth: (B,) bool.
        image_id: (B,) int64.
        position: (B,) int64, in the dataset; unique where image ids of several sets are not.
    """

    image: Tensor
    pseudo_mask: Tensor
    box_mask: Tensor
    weight: Tensor
    truth: NotRequired[Tensor]
    has_truth: NotRequired[Tensor]
    image_id: Tensor
    position: NotRequired[Tensor]
