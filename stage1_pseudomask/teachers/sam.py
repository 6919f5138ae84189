"""Segment Anything as a teacher (Kirillov et al. 2023, the ``segment-anything`` package), batched.

For any weights the masks equal those of ``SamPredictor`` called image by image, which a test verifies. In half
precision only the encoder's blocks use it: the neck and the decoder, 2 % of the arithmetic, determine the exact
borders. With them in full precision, masks of the tiny variant have a mean IoU of .999 with the exact ones; otherwise
.973.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from boxpromptiml.core.boxes import Boxes
from boxpromptiml.core.limits import Count, within_limits
from boxpromptiml.images import Photo
from stage1_pseudomask.teachers import Candidates, Size, Teacher, sam_weights
from stage1_pseudomask.teachers.sam_resize import SIDES, Variant, resize_longest_side

if TYPE_CHECKING:  # slow imports that a complete cache does not need
    import torch
    from segment_anything.modeling import Sam


@dataclass(frozen=True, slots=True)
class SamEmbedding:
    """Encoded photos.

    Attributes:
        features: (B, 256, 64, 64), output of the encoder.
        sizes: (height, width) of each photo at the encoder's input, before padding.
    """

    features: torch.Tensor
    sizes: list[tuple[int, int]]


class SegmentAnything(Teacher):
    """SAM prompted by boxes.

    Args:
        variant: size of the image encoder; ``tiny`` is a stand-in for tests that comes with this package, trained for
            minutes.
        checkpoint: weight file; by default the one in BOXPROMPTIML_SAM_CHECKPOINT, or the published one, which is
            downloaded once and verified.
        download_folder: where downloads are kept; by default the user's cache folder.
        multimask_output: three candidates per box instead of one. SAM's authors advise against it for boxes.
        boxes_at_once: boxes decoded together, over all images; memory grows with it.
        kernel: implementation of the encoder's attention: torch's scaled_dot_product_attention, its flex_attention, or
            segment-anything's own code. Like ``boxes_at_once`` it affects masks only by rounding.
        compiled: run the encoder through torch.compile, which takes a minute at the start. Worthwhile on a GPU.
    """

    @within_limits
    def __init__(
        self,
        variant: Variant = "vit_h",
        checkpoint: Path | None = None,
        download_folder: Path | None = None,
        multimask_output: bool = False,
        boxes_at_once: Count = 32,
        kernel: Literal["sdpa", "flex", "shipped"] = "sdpa",
        compiled: bool = False,
    ) -> None:
        self.variant: Variant = variant
        self.checkpoint = sam_weights.named_by_user(variant, checkpoint)
        self.download_folder = download_folder
        self.multimask_output = multimask_output
        self.boxes_at_once = boxes_at_once
        self.kernel: Literal["sdpa", "flex", "shipped"] = kernel
        self.compiled = compiled
        self.model: Sam | None = None

    @property
    def name(self) -> str:
        """``sam_vit_h``, ``sam_vit_l``, ``sam_vit_b`` or ``sam_tiny``."""
        return f"sam_{self.variant}"

    @cached_property
    def weights_sha256(self) -> str:  # type: ignore[override]  # computed on first access
        """SHA-256 of the file on disk, or of the published one that will be downloaded."""
        return sam_weights.sha256(self.variant, self.checkpoint)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings other than the weights that change masks."""
        return {"multimask_output": self.multimask_output}

    def preparation(self) -> Callable[[Photo], Photo]:
        """Return SAM's own resize to 1024 pixels on the longer side, which ``SamPredictor`` also uses."""
        return partial(resize_longest_side, side=SIDES[self.variant])

    def load(self, device: torch.device) -> None:
        """Fetch, verify and load the weights."""
        self.model = sam_weights.load(self.variant, self.checkpoint, self.download_folder).to(device)

    def embed(self, photos: Sequence[Photo]) -> SamEmbedding:
        """Encode the whole batch with one call of the image encoder."""
        import torch

        from stage1_pseudomask.teachers.sam_encoder import encode

        model = self._loaded()
        with torch.inference_mode():
            images = [torch.from_numpy(photo).to(model.device, non_blocking=True) for photo in photos]
            pixels = torch.stack([model.preprocess(image.permute(2, 0, 1)) for image in images])
            features = encode(model.image_encoder, pixels, self.kernel, self.compiled)
        return SamEmbedding(features, [photo.shape[:2] for photo in photos])

    def propose(self, embedding: SamEmbedding, boxes: Sequence[Boxes], frames: Sequence[Size]) -> list[Candidates]:
        """Propose candidates for every box, on the device; the scores are SAM's own IoU estimates."""
        import torch
        from segment_anything.utils.transforms import ResizeLongestSide

        model, counts = self._loaded(), [len(of_image) for of_image in boxes]
        resize = ResizeLongestSide(model.image_encoder.img_size)
        prompts = [resize.apply_boxes(of_image, (h, w)) for of_image, (w, h) in zip(boxes, frames, strict=True)]
        with torch.inference_mode(), torch.autocast(model.device.type, enabled=False):
            logits, scores = self._decode(embedding.features, torch.from_numpy(np.concatenate(prompts)), counts)
            return [
                Candidates(model.postprocess_masks(image, size, (height, width)).sigmoid(), image_scores)
                for image, image_scores, size, (width, height) in zip(
                    logits.split(counts), scores.split(counts), embedding.sizes, frames, strict=True
                )
            ]

    def _decode(
        self, features: torch.Tensor, prompts: torch.Tensor, counts: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode every box of a batch with the features of its image, ``boxes_at_once`` at a time.

        Args:
            features: (B, 256, 64, 64) of the images.
            prompts: (N, 4) boxes (XYXY) at the encoder's input, image by image.
            counts: number of boxes of each image.

        Returns:
            (N, C, 256, 256) float32 logits, and (N, C) float32 scores in [0, 1].
        """
        import torch

        model, device = self._loaded(), features.device
        owners = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).to(device, non_blocking=True)
        prompts = prompts.float().to(device, non_blocking=True)
        chosen = slice(1, None) if self.multimask_output else slice(0, 1)
        places = model.prompt_encoder.get_dense_pe()
        placeholder = torch.zeros(1, 1, 1, 1, device=device)  # required image argument; each box has its own features
        count, side = 3 if self.multimask_output else 1, 4 * features.shape[-1]
        logits = [torch.zeros(0, count, side, side, device=device)]
        scores = [torch.zeros(0, count, device=device)]
        for first in range(0, len(prompts), self.boxes_at_once):
            boxes, images = (each[first : first + self.boxes_at_once] for each in (prompts, owners))
            sparse, dense = model.prompt_encoder(points=None, boxes=boxes, masks=None)
            masks, estimates = model.mask_decoder.predict_masks(
                placeholder, places, sparse, dense + features[images].float()
            )
            logits.append(masks[:, chosen])
            scores.append(estimates[:, chosen].clamp(0, 1))
        return torch.cat(logits), torch.cat(scores)

    def _loaded(self) -> Sam:
        if self.model is None:
            raise RuntimeError("load() comes before embed() and propose()")
        return self.model
