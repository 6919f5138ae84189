"""Segment Anything as a teacher (Kirillov et al. 2023, the ``segment-anything`` package), batched.

For any weights the masks are those of ``SamPredictor`` called image by image; a test holds that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from boxpromptiml.boxes import Boxes
from boxpromptiml.images import Photo
from boxpromptiml.provenance import file_sha256
from boxpromptiml.records import InputError
from stage1_pseudomask.teachers import Candidates, Size, Teacher

if TYPE_CHECKING:  # seconds to import, and a complete cache needs none of them
    import torch
    from segment_anything.modeling import Sam

Variant = Literal["vit_h", "vit_l", "vit_b"]

SIDE = 1024
"""Longest side of the encoder's input in pixels."""
CHECKPOINT_VARIABLE = "BOXPROMPTIML_SAM_CHECKPOINT"
"""Environment variable that names a checkpoint file."""
BASE_URL = "https://dl.fbaipublicfiles.com/segment_anything/"
CHECKPOINTS: dict[Variant, tuple[str, str]] = {
    "vit_h": ("sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"),
    "vit_l": ("sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"),
    "vit_b": ("sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"),
}
"""File name and SHA-256 of the published weights."""


class CheckpointError(InputError):
    """A weight file that is missing or cannot be used. Its text is one line that names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Encoded photos.

    Attributes:
        features: (B, 256, 64, 64), what the encoder made of them.
        sizes: for each photo its (height, width) at the encoder's input, before padding.
    """

    features: torch.Tensor
    sizes: list[tuple[int, int]]


class SegmentAnything(Teacher):
    """SAM prompted by boxes.

    Args:
        variant: size of the image encoder.
        checkpoint: weight file; by default the one that BOXPROMPTIML_SAM_CHECKPOINT names, or the published one, which
            is downloaded once and verified.
        download_folder: where downloads are kept; by default the user's cache folder.
        multimask_output: three candidates for each box instead of one. SAM's authors advise against it for boxes.
        boxes_at_once: boxes of one image that are decoded together; memory grows with it. It does not change the masks.
    """

    def __init__(
        self,
        variant: Variant = "vit_h",
        checkpoint: Path | None = None,
        download_folder: Path | None = None,
        multimask_output: bool = False,
        boxes_at_once: int = 32,
    ) -> None:
        named = os.environ.get(CHECKPOINT_VARIABLE)
        self.variant: Variant = variant
        self.checkpoint = checkpoint or (Path(named) if named else None)
        self.download_folder = download_folder
        self.multimask_output = multimask_output
        self.boxes_at_once = boxes_at_once
        self.model: Sam | None = None

    @property
    def name(self) -> str:
        """``sam_vit_h``, ``sam_vit_l`` or ``sam_vit_b``."""
        return f"sam_{self.variant}"

    @cached_property
    def weights_sha256(self) -> str:  # type: ignore[override]  # computed only when it is asked for
        """Of the file on disk, or of the published one that will be downloaded."""
        return file_sha256(_existing(self.checkpoint)) if self.checkpoint else CHECKPOINTS[self.variant][1]

    @property
    def settings(self) -> dict[str, Any]:
        """What changes masks beside the weights."""
        return {"multimask_output": self.multimask_output}

    def preparation(self) -> Callable[[Photo], Photo]:
        """SAM's own resize to 1024 on the longer side, which ``SamPredictor`` uses too."""
        return partial(resize_longest_side, side=SIDE)

    def load(self, device: torch.device) -> None:
        """Fetch, verify and load the weights."""
        path = _existing(self.checkpoint) if self.checkpoint else download(self.variant, self.download_folder)
        self.model = build(self.variant, path).to(device)

    def embed(self, photos: Sequence[Photo]) -> Embedding:
        """One call of the image encoder for the whole batch."""
        import torch

        model = self._loaded()
        with torch.inference_mode():
            pixels = [torch.as_tensor(photo, device=model.device).permute(2, 0, 1) for photo in photos]
            features = model.image_encoder(torch.stack([model.preprocess(image) for image in pixels]))
        return Embedding(features, [photo.shape[:2] for photo in photos])

    def propose(self, embedding: Embedding, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """Candidates for every box; the scores are SAM's own estimates of their IoU."""
        proposed = []
        for i, (image_boxes, (width, height)) in enumerate(zip(boxes, frames, strict=True)):
            parts = [
                self._decode(embedding, i, image_boxes[first : first + self.boxes_at_once], (height, width))
                for first in range(0, len(image_boxes), self.boxes_at_once)
            ]
            count = 3 if self.multimask_output else 1
            nothing = Candidates(np.zeros((0, count, height, width), np.float32), np.zeros((0, count), np.float32))
            probability = np.concatenate([part.probability for part in [nothing, *parts]])
            proposed.append(Candidates(probability, np.concatenate([part.scores for part in [nothing, *parts]])))
        return proposed

    def _decode(self, embedding: Embedding, i: int, boxes_xyxy: Boxes, frame_hw: tuple[int, int]) -> Candidates:
        import torch
        from segment_anything.utils.transforms import ResizeLongestSide

        model = self._loaded()
        with torch.inference_mode():
            prompts = ResizeLongestSide(SIDE).apply_boxes(boxes_xyxy, frame_hw)
            sparse, dense = model.prompt_encoder(
                points=None, boxes=torch.as_tensor(prompts, dtype=torch.float, device=model.device), masks=None
            )
            logits, scores = model.mask_decoder(
                image_embeddings=embedding.features[i : i + 1],
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=self.multimask_output,
            )
            logits = model.postprocess_masks(logits.float(), embedding.sizes[i], frame_hw)
            return Candidates(logits.sigmoid().cpu().numpy(), scores.float().clamp(0, 1).cpu().numpy())

    def _loaded(self) -> Sam:
        if self.model is None:
            raise RuntimeError("load() comes before embed() and propose()")
        return self.model


def resize_longest_side(photo: Photo, side: int) -> Photo:
    """Photo with its longer side exactly ``side`` pixels, by Pillow's bilinear filter on uint8."""
    from segment_anything.utils.transforms import ResizeLongestSide

    return np.asarray(ResizeLongestSide(side).apply_image(photo))


def build(variant: Variant, path: Path) -> Sam:
    """The network with the weights of a file, in evaluation mode on the CPU.

    Raises:
        CheckpointError: the file does not hold weights, or those of another variant.
    """
    import torch
    from segment_anything import sam_model_registry

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        model = sam_model_registry[variant]()
        model.load_state_dict(weights)
    except Exception as error:  # a damaged file raises a different type for each way it can be damaged
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: not the weights of SAM {variant} ({reason}); name a file that fits the variant, or delete it and "
            "run the command again to download it"
        ) from None
    return model


def download(variant: Variant, folder: Path | None = None, base_url: str = BASE_URL) -> Path:
    """The published weights, from the folder where they are kept or else from the network, verified either way.

    Args:
        variant: size of the image encoder.
        folder: where they are kept; by default the user's cache folder.
        base_url: where they are published.

    Raises:
        CheckpointError: they cannot be had. The message says what is missing and where to put it.
    """
    import pooch

    name, sha256 = CHECKPOINTS[variant]
    folder = folder or Path(pooch.os_cache("boxpromptiml"))
    try:
        found = pooch.retrieve(base_url + name, f"sha256:{sha256}", fname=name, path=folder, progressbar=True)
    except (OSError, ValueError) as error:  # network trouble and a full disk; a checksum that differs
        reason = type(error).__name__ if isinstance(error, OSError) else "its checksum differs"
        raise CheckpointError(
            f"{folder / name}: the weights of SAM {variant} are missing and could not be downloaded ({reason}); get "
            f"{base_url + name} on a machine with network and put it there, or name it in {CHECKPOINT_VARIABLE}"
        ) from None
    return Path(found)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint; correct teacher.init_args.checkpoint or {CHECKPOINT_VARIABLE}, or leave both "
            "out to have it downloaded"
        )
    return path
