"""A small trained network as a teacher for machines without a GPU; its weights come with the package.

It segments the crop around each box in one forward pass, about as fast as GrabCut and with better masks:
docs/results/pseudomasks.md compares both on real forgeries. `box_segmenter_training` trained it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core import boxes as box_geometry
from boxpromptiml.core.boxes import Boxes
from boxpromptiml.core.limits import Count, within_limits
from boxpromptiml.core.records import InputError
from boxpromptiml.images import Photo, resize_photo, resize_probability
from stage1_pseudomask.teachers import Candidates, Size, Teacher
from stage1_pseudomask.teachers.grabcut import shrink, window_of

if TYPE_CHECKING:  # slow imports
    import torch
    from torch import Tensor

    from stage1_pseudomask.teachers.box_network import BoxNetwork

SIDE = 160
"""Side of the network's input in pixels."""
CONTEXT = 0.25
"""Width of the surroundings that the network sees, as a fraction of the box on each side."""
PACKAGED = Path(__file__).with_name("box_segmenter.safetensors")


class BoxSegmenter(Teacher):
    """A network that segments what each box holds.

    Args:
        weights: safetensors file of `box_segmenter_training`; None takes the one of the package.
        longest_side: photos are shrunk to this size in pixels before segmentation, never enlarged.
        flips: average with the result for the mirrored crop: slightly better, twice the time.
        boxes_at_once: number of crops in a forward pass.
    """

    @within_limits
    def __init__(
        self, weights: Path | None = None, longest_side: Count = 512, flips: bool = True, boxes_at_once: Count = 32
    ) -> None:
        self.weights = weights or PACKAGED
        self.longest_side = longest_side
        self.flips = flips
        self.boxes_at_once = boxes_at_once
        self.network: BoxNetwork | None = None

    @property
    def name(self) -> str:
        """``box_segmenter``."""
        return "box_segmenter"

    @cached_property
    def weights_sha256(self) -> str:  # type: ignore[override]  # computed on first access
        """SHA-256 of the weight file."""
        try:
            return sha256(self.weights.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(
                f"{self.weights}: cannot be read ({error.strerror}); correct --teacher.weights, or leave it out"
            ) from None

    @property
    def settings(self) -> dict[str, Any]:
        """Settings other than the weights that change masks."""
        return {"longest_side": self.longest_side, "flips": self.flips}

    def preparation(self) -> Callable[[Photo], Photo]:
        """Return a function that shrinks a photo to the longest side."""
        return partial(shrink, longest_side=self.longest_side)

    def load(self, device: torch.device) -> None:
        """Load the weights in 32 bits."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        from stage1_pseudomask.teachers.box_network import BoxNetwork

        network = BoxNetwork()
        try:
            network.load_state_dict(load(self.weights.read_bytes()))
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{self.weights}: not weights of the box segmenter ({reason}); correct --teacher.weights, or leave it "
                "out"
            ) from None
        self.network = network.eval().to(device)

    def embed(self, photos: Sequence[Photo]) -> list[Photo]:
        """Return the photos themselves."""
        return list(photos)

    def propose(self, embedding: Any, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """Propose one mask per box. If no pixel of it is more likely than not, the box is the mask, with score 0."""
        crops = [
            Crop.around(photo, box)
            for photo, of_image, frame in zip(embedding, boxes, frames, strict=True)
            for box in box_geometry.scale(of_image, photo.shape[1] / frame[0], photo.shape[0] / frame[1])
        ]
        maps = iter(self._segmented(crops))
        return [
            _candidates([next(maps) for _ in of_image], photo.shape[:2], frame)
            for photo, of_image, frame in zip(embedding, boxes, frames, strict=True)
        ]

    def _segmented(self, crops: Sequence[Crop]) -> list[tuple[Crop, NDArray[np.float32]]]:
        """Pair each crop with its (SIDE, SIDE) probabilities."""
        import torch

        if self.network is None:
            raise RuntimeError("call load() before propose()")
        device = self.network.out.weight.device
        maps: list[NDArray[np.float32]] = []
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            for first in range(0, len(crops), self.boxes_at_once):
                some = crops[first : first + self.boxes_at_once]
                pixels = torch.from_numpy(np.stack([crop.pixels for crop in some])).to(device)
                places = torch.from_numpy(np.stack([crop.box_xyxy for crop in some])).to(device)
                maps += [*self._probabilities(pixels.permute(0, 3, 1, 2).float() / 255, places).cpu().numpy()]
        return list(zip(crops, maps, strict=True))

    def _probabilities(self, images: Tensor, boxes_xyxy: Tensor) -> Tensor:
        assert self.network is not None
        found = self.network(images, boxes_xyxy).sigmoid()
        if self.flips:
            mirrored = boxes_xyxy[:, [2, 1, 0, 3]].clone()
            mirrored[:, [0, 2]] = 1 - mirrored[:, [0, 2]]
            found = (found + self.network(images.flip(3), mirrored).sigmoid().flip(3)) / 2
        return found[:, 0]


class Crop(NamedTuple):
    """What the network sees of a photo.

    Attributes:
        pixels: (SIDE, SIDE, 3) uint8 RGB.
        box_xyxy: (4,) the box, in shares of the crop's sides.
        window: left, top, right and bottom of the crop in the photo, in pixels.
        box_in_photo: (4,) the box in pixels of the photo.
    """

    pixels: Photo
    box_xyxy: NDArray[np.float32]
    window: tuple[int, int, int, int]
    box_in_photo: NDArray[np.float32]

    @classmethod
    def around(cls, photo: Photo, box_xyxy: NDArray[np.float32]) -> Crop:
        """Crop a photo around a box given in its pixels, with context as far as the photo has some."""
        height, width = photo.shape[:2]
        window = left, top, right, bottom = window_of(box_xyxy, CONTEXT, width, height)
        pixels = resize_photo(np.ascontiguousarray(photo[top:bottom, left:right]), SIDE, SIDE)
        corner, sides = np.array([left, top] * 2), np.array([right - left, bottom - top] * 2)
        return cls(pixels, ((box_xyxy - corner) / sides).astype(np.float32), window, box_xyxy)


def _candidates(found: Sequence[tuple[Crop, NDArray[np.float32]]], shape: tuple[int, int], frame: Size) -> Candidates:
    """Put the maps of one image's crops back into the photo, and resize to the frame."""
    probability = np.zeros((len(found), 1, frame[1], frame[0]), np.float32)
    scores = np.zeros((len(found), 1), np.float32)
    for i, (crop, small) in enumerate(found):
        left, top, right, bottom = crop.window
        whole = np.zeros(shape, np.float32)
        if (small > 0.5).any():
            whole[top:bottom, left:right] = resize_probability(small, right - left, bottom - top)
            scores[i, 0] = _expected_iou(small)
        else:
            whole[box_geometry.rasterize(crop.box_in_photo[None], shape[1], shape[0])] = 1
        probability[i, 0] = resize_probability(whole, *frame)
    return Candidates(probability, scores)


def _expected_iou(probability: NDArray[np.float32]) -> float:
    """Return the expected overlap over the expected union of the mask with a truth drawn from the map (ours)."""
    mask = probability > 0.5
    return float(probability[mask].sum() / (mask.sum() + probability[~mask].sum()))
