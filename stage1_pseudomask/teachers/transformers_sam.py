"""Segment Anything's family through Hugging Face ``transformers``: SAM, SAM-HQ, SAM 2 and 2.1, EdgeTAM and others.

For any weights the masks equal those of the library's own processor and model called image by image, which a test
verifies. The library's image processor resizes, normalizes and pads photos, and its model decodes boxes. Batches of
photos with different numbers of boxes are ours: every box is decoded as a separate image. Half precision is restricted
to the encoder's blocks, as in ``SegmentAnything``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boxpromptiml.core.boxes import Boxes, scale
from boxpromptiml.core.records import InputError
from boxpromptiml.images import Photo
from boxpromptiml.runtime.provenance import file_sha256
from stage1_pseudomask.teachers import Candidates, Size, Teacher, transformers_files
from stage1_pseudomask.teachers.sam_resize import refuse_too_thin

if TYPE_CHECKING:  # slow imports that a complete cache does not need
    import torch
    from torch import nn

BEHIND_THE_BLOCKS = ("vision_encoder.neck", "mask_decoder.conv_s0", "mask_decoder.conv_s1")
"""Modules after the encoder's blocks that stay in full precision, by their names in the library's models."""


@dataclass(frozen=True, slots=True)
class TransformersEmbedding:
    """Encoded photos.

    Attributes:
        arguments: arguments of the model's ``forward``: tensors, or lists of them, whose first axis is the B photos.
        sizes: (height, width) of each photo at the encoder's input, before padding.
    """

    arguments: dict[str, Any]
    sizes: list[tuple[int, int]]


class TransformersSam(Teacher):
    """A model of SAM's family prompted by boxes, from the Hugging Face hub or a folder. Needs the extra `transformers`.

    Weights are read from safetensors only, and no code of a repository is executed.

    Args:
        model: OWNER/NAME on the hub, downloaded once, or a folder with config.json, the image processor's settings and
            model.safetensors, as written by ``save_pretrained``.
        revision: branch, tag or commit on the hub. Shards always record the commit.
        multimask_output: three candidates per box instead of one.
        boxes_at_once: boxes decoded together, over all images; memory grows with it. It affects masks only by rounding.
        compiled: run the encoder through torch.compile, which takes a minute at the start. Worthwhile on a GPU.
    """

    def __init__(
        self,
        model: str,
        revision: str = "main",
        multimask_output: bool = False,
        boxes_at_once: int = 32,
        compiled: bool = False,
    ) -> None:
        if find_spec("transformers") is None:
            raise InputError(f"{model} needs transformers; install it with: pip install 'boxpromptiml[transformers]'")
        self.source = model
        self.revision = revision
        self.multimask_output = multimask_output
        self.boxes_at_once = boxes_at_once
        self.compiled = compiled
        self.model: Any = None

    @cached_property
    def folder(self) -> Path:
        """Folder of the model's files, downloaded on first access if they are on the hub."""
        return transformers_files.located(self.source, self.revision)

    @cached_property
    def family(self) -> str:
        """Model type: ``sam``, ``sam_hq``, ``sam2`` and so on."""
        return transformers_files.family(self.folder)

    @cached_property
    def name(self) -> str:
        """Model type and, for a model on the hub, its id and commit: ``sam2:facebook/sam2.1-hiera-small@0123…``."""
        return self.family if Path(self.source).is_dir() else f"{self.family}:{self.source}@{self.folder.name}"

    @cached_property
    def weights_sha256(self) -> str:  # type: ignore[override]  # computed on first access
        """SHA-256 of ``model.safetensors``."""
        return file_sha256(self.folder / transformers_files.WEIGHTS)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings other than the weights that change masks."""
        return {"multimask_output": self.multimask_output}

    @cached_property
    def processor(self) -> Any:
        """The library's image processor."""
        return transformers_files.image_processor(self.folder)

    def preparation(self) -> Callable[[Photo], Photo]:
        """Return the image processor's own resize: the longer side for SAM and SAM-HQ, both sides for SAM 2."""
        return partial(resized, processor=self.processor)

    def load(self, device: torch.device) -> None:
        """Load the weights, all of which must be present."""
        assert self.family  # raises a clear error for unsupported types before the library does
        self.model = transformers_files.network(self.folder).to(device)
        parts = dict(self.model.named_modules())
        for part in (parts[name] for name in BEHIND_THE_BLOCKS if name in parts):
            _keep_full_precision(part, device.type)
        if self.compiled:
            self.model.vision_encoder.compile()

    def embed(self, photos: Sequence[Photo]) -> TransformersEmbedding:
        """Encode the whole batch with one call of the image encoder."""
        import torch

        model = self._loaded()
        with torch.inference_mode():
            images = [torch.from_numpy(photo).permute(2, 0, 1).to(model.device, non_blocking=True) for photo in photos]
            inputs = self.processor(
                images, do_resize=False, input_data_format="channels_first", device=model.device, return_tensors="pt"
            )
            found = model.get_image_embeddings(inputs["pixel_values"])
        arguments: dict[str, Any] = {"image_embeddings": found}
        if isinstance(found, tuple):  # SAM-HQ, whose decoder also reads the encoder's first layer
            arguments = {"image_embeddings": found[0], "intermediate_embeddings": found[1][:1]}
        return TransformersEmbedding(arguments, [photo.shape[:2] for photo in photos])

    def propose(
        self, embedding: TransformersEmbedding, boxes: Sequence[Boxes], frames: Sequence[Size]
    ) -> list[Candidates]:
        """Propose candidates for every box, on the device; the scores are the model's own IoU estimates."""
        import torch

        model, counts = self._loaded(), [len(of_image) for of_image in boxes]
        prompts = [
            scale(of_image, w / frame[0], h / frame[1])
            for of_image, (h, w), frame in zip(boxes, embedding.sizes, frames, strict=True)
        ]
        with torch.inference_mode(), torch.autocast(model.device.type, enabled=False):
            logits, scores = self._decode(embedding.arguments, torch.from_numpy(np.concatenate(prompts)), counts)
            return [
                Candidates(self._in_frame(image, size, frame).sigmoid(), image_scores)
                for image, image_scores, size, frame in zip(
                    logits.split(counts), scores.split(counts), embedding.sizes, frames, strict=True
                )
            ]

    def _decode(
        self, arguments: dict[str, Any], prompts: torch.Tensor, counts: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode every box of a batch with the features of its image, ``boxes_at_once`` at a time.

        Args:
            arguments: encoded images, see `TransformersEmbedding`.
            prompts: (N, 4) boxes (XYXY) at the encoder's input, image by image.
            counts: number of boxes of each image.

        Returns:
            (N, C, h, w) float32 logits, and (N, C) float32 scores in [0, 1].
        """
        import torch

        model = self._loaded()
        owners = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        count = model.config.mask_decoder_config.num_multimask_outputs if self.multimask_output else 1
        logits = [torch.zeros(0, count, 1, 1, device=model.device)]
        scores = [torch.zeros(0, count, device=model.device)]
        for first in range(0, len(prompts), self.boxes_at_once):
            boxes, images = (
                each[first : first + self.boxes_at_once].to(model.device, non_blocking=True)
                for each in (prompts, owners)
            )
            outputs = model(
                input_boxes=boxes.float()[:, None],
                multimask_output=self.multimask_output,
                **{name: _of(images, value) for name, value in arguments.items()},
            )
            logits.append(outputs.pred_masks[:, 0].float())
            scores.append(outputs.iou_scores[:, 0].float().clamp(0, 1))
        return torch.cat(logits[len(prompts) > 0 :]), torch.cat(scores)

    def _in_frame(self, logits: torch.Tensor, size: tuple[int, int], frame: Size) -> torch.Tensor:
        """Upscale (N, C, h, w) logits to (N, C, H, W) in the frame with the library's own function."""
        (enlarged,) = self.processor.post_process_masks(
            [logits], [(frame[1], frame[0])], reshaped_input_sizes=[size], binarize=False
        )
        return enlarged

    def _loaded(self) -> Any:
        if self.model is None:
            raise RuntimeError("load() comes before embed() and propose()")
        return self.model


def resized(photo: Photo, processor: Any) -> Photo:
    """Resize a photo to the encoder's input with the library's image processor.

    Raises:
        ImageError: the photo is so thin that its shorter side would vanish.
    """
    if side := getattr(processor.size, "longest_edge", None):
        refuse_too_thin(photo, side)
    inputs = processor(
        photo,
        do_rescale=False,
        do_normalize=False,
        do_pad=False,
        input_data_format="channels_last",
        return_tensors="pt",
    )
    return np.ascontiguousarray(inputs["pixel_values"][0].permute(1, 2, 0).numpy())


def _of(images: torch.Tensor, value: Any) -> Any:
    """Select the features of some images, in full precision."""
    return [_of(images, part) for part in value] if isinstance(value, list | tuple) else value[images].float()


def _keep_full_precision(part: nn.Module, device_type: str) -> None:
    """Exclude a module from autocast and convert its inputs, which may be in half precision, to float32."""
    import torch

    forward = part.forward

    def in_full(inputs: Any) -> Any:
        with torch.autocast(device_type, enabled=False):
            return forward(_floats(inputs))

    part.forward = in_full  # a hook cannot keep a context manager open


def _floats(inputs: Any) -> Any:
    return type(inputs)(_floats(part) for part in inputs) if isinstance(inputs, list | tuple) else inputs.float()
