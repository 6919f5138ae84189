"""The student: image in, manipulation map out, no prompt."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from timm.models import FeatureInfo
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from boxpromptiml.core.limits import Count, Share, Side, Whole, within_limits
from boxpromptiml.core.records import InputError
from stage2_distill.model import noise_residual, self_similarity
from stage2_distill.model.copy_comparison import CopyComparison
from stage2_distill.model.fusion import MemoryGuidedGatedFusion, MemoryUpdate
from stage2_distill.model.pretrained import WeightsError, create_backbone
from stage2_distill.model.shape_prior import ShapePrior

FIRST_WEIGHTS = ("pretrained", "weights")
"""Arguments that determine a student's initial weights, not its architecture."""
EPSILON = 1e-6
"""Smallest distance of a score from 0 and 1 before its logit is taken."""
LATE_PARTS = ("comparison", "shape_prior")
"""Parts that start without effect, so they can be added to a trained student."""


class Localization(NamedTuple):
    """Output of the student.

    Attributes:
        logits: (B, 1, H, W) at the input's size; the probability of manipulation is their sigmoid.
        gate_prior: (B, 1, h, w) in [0, 1] at the fusion stride.
        memory_prior: (B, 1, h, w) in [0, 1] at the fusion stride.
        fused: (B, C, h, w) features, for the memory bank's moving average.
        gates: (B, L, h, w) in [0, 1] at the fusion stride, one for each of the L fused features.
        score: (B,) in [0, 1], for ranking images: the largest probability before the shape prior, which brings the
            maps of all images to the same scale and thus hides how certain the student is (ours). With a second size,
            the two scores' logits are averaged.
    """

    logits: Tensor
    gate_prior: Tensor
    memory_prior: Tensor
    fused: Tensor
    gates: Tensor
    score: Tensor


class Student(nn.Module):
    """A timm backbone followed by the memory-guided gated fusion module.

    Args:
        backbone: any timm model with ``features_only``; its last four features are used.
        pretrained: initialize the backbone with ImageNet weights, from an installed package if there is one, else from
            the Hugging Face hub, downloaded once.
        image_size: side in pixels that images are resized to.
        second_size: side in pixels of a second, smaller input, made from the first; except in training, the student
            localizes in both and averages the logits; 0 for none (ours).
        fusion_stride: stride of the grid on which features are fused; 8 gives 28 × 28 at 224 pixels (ours).
        channels: see `MemoryGuidedGatedFusion`, also for the following arguments.
        gating: use gates.
        memory: use the memory bank.
        prototypes: size of the bank.
        alpha: weight of the gate prior relative to the memory prior.
        learn_alpha: learn that weight.
        memory_update: ``gradient`` or ``ema``.
        memory_decay: decay of the moving average for ``ema``.
        forensic: number of high-pass filters per colour channel in an additional branch, whose features are fused as
            well; 0 for none (ours).
        displacements: number of displacements in an additional self-similarity branch that detects copies, whose
            features are fused as well; 0 for none (ours).
        compare_copies: where two places of the photo match, decide which of them was pasted, and correct the map there;
            needs displacements (ours).
        shape_prior: refine the finished map with a learned prior on shapes of manipulated regions (ours).
        weights: training checkpoint of a student with the same architecture, possibly without the copy comparison and
            the shape prior, to start from for fine-tuning; None for a fresh start.

    Attributes:
        arguments: those that define the architecture. They are stored in checkpoints and saved students, and recreate
            the student.

    Raises:
        WeightsError: the pretrained weights cannot be downloaded, or ``weights`` cannot be read or do not match.
    """

    mean: Tensor
    std: Tensor

    @within_limits
    def __init__(
        self,
        backbone: str = "tiny_vit_5m_224",
        pretrained: bool = True,
        image_size: Side = 224,
        second_size: Whole = 0,
        fusion_stride: Count = 8,
        channels: Count = 96,
        gating: bool = True,
        memory: bool = True,
        prototypes: Count = 64,
        alpha: Share = 0.5,
        learn_alpha: bool = False,
        memory_update: MemoryUpdate = "gradient",
        memory_decay: Share = 0.99,
        forensic: Whole = 0,
        displacements: Whole = 0,
        compare_copies: bool = False,
        shape_prior: bool = False,
        weights: str | None = None,
    ) -> None:
        given = dict(locals())  # before any other variable is defined
        super().__init__()
        self.arguments: dict[str, Any] = {
            name: given[name] for name in signature(Student).parameters if name not in FIRST_WEIGHTS
        }
        if second_size >= image_size:
            raise InputError(f"second_size {second_size} is not below image_size {image_size}; set 0 for none")
        self.image_size = image_size
        self.second_size = second_size
        self.fusion_stride = fusion_stride
        self.backbone = create_backbone(backbone, pretrained and weights is None)
        data = timm.data.resolve_model_data_config(self.backbone)
        self.register_buffer("mean", torch.tensor(data["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(data["std"]).view(1, 3, 1, 1), persistent=False)
        self.forensic = noise_residual.NoiseResidual(forensic) if forensic else None
        self.similarity = self_similarity.SelfSimilarity(displacements) if displacements else None
        in_channels = cast(FeatureInfo, self.backbone.feature_info).channels()[-4:]
        in_channels += [noise_residual.WIDTH] * (forensic > 0) + [self_similarity.WIDTH] * (displacements > 0)
        self.fusion = MemoryGuidedGatedFusion(
            in_channels=in_channels,
            channels=channels,
            gating=gating,
            memory=memory,
            prototypes=prototypes,
            alpha=alpha,
            learn_alpha=learn_alpha,
            memory_update=memory_update,
            memory_decay=memory_decay,
        )
        if compare_copies and not displacements:
            raise InputError("compare_copies needs displacements; set some, such as 8")
        self.comparison = CopyComparison(channels) if compare_copies else None
        self.shape_prior = ShapePrior() if shape_prior else None
        self.lay_out(torch.channels_last)  # a fifth faster on CPUs, and preferred by tensor cores
        if weights is not None:
            self._start_from(Path(weights))

    def lay_out(self, memory_format: torch.memory_format) -> None:
        """Set the memory format of weights and inputs."""
        self.memory_format = memory_format
        self.to(memory_format=memory_format)

    def forward(self, image: Tensor) -> Localization:
        """Localize manipulations in images (B, 3, H, W), RGB in [0, 1]."""
        found = self._at_one_size(image)
        if not self.second_size or self.training:
            return found
        height, width = image.shape[-2:]
        factor = self.second_size / self.image_size
        smaller = F.interpolate(image, (round(height * factor), round(width * factor)), mode="bilinear", antialias=True)
        again = self._at_one_size(smaller)
        logits = F.interpolate(again.logits, (height, width), mode="bilinear", align_corners=False)
        scores = torch.stack([found.score, again.score])
        score = torch.sigmoid(torch.logit(scores, EPSILON).mean(0))
        return found._replace(logits=(found.logits + logits) / 2, score=score)

    def _at_one_size(self, image: Tensor) -> Localization:
        height, width = image.shape[-2:]
        normalized = ((image - self.mean) / self.std).contiguous(memory_format=self.memory_format)
        features = self.backbone(normalized)[-4:]
        if self.forensic is not None:
            features = [*features, self.forensic(image)]
        if self.similarity is not None:
            evidence = self.similarity.evidence(image)
            features = [*features, self.similarity(evidence.maps)]
        grid = (-(-height // self.fusion_stride), -(-width // self.fusion_stride))
        fusion = self.fusion(features, grid)
        logits = F.interpolate(fusion.logits, (height, width), mode="bilinear", align_corners=False)
        if self.comparison is not None:
            correction = self.comparison(fusion.logits, fusion.fused, evidence)
            logits = logits + F.interpolate(correction, (height, width), mode="bilinear", align_corners=False)
        score = torch.sigmoid(logits.float().amax((1, 2, 3)))
        if self.shape_prior is not None:
            logits = self.shape_prior(logits)
        return Localization(logits, fusion.gate_prior, fusion.memory_prior, fusion.fused, fusion.gates, score)

    def _start_from(self, path: Path) -> None:
        earlier = Student.from_checkpoint(path)
        missing = [part for part in LATE_PARTS if getattr(earlier, part) is None]
        own = {name: value for name, value in self.state_dict().items() if name.split(".")[0] in missing}
        try:
            self.load_state_dict(earlier.state_dict() | own)
        except RuntimeError:
            shape = {name: value for name, value in earlier.arguments.items() if value != self.arguments[name]}
            raise WeightsError(
                f"{path}: its student has {shape}, unlike this one; set the same, or train without it"
            ) from None

    @classmethod
    def from_checkpoint(cls, path: Path) -> Student:
        """Load the trained student of a training checkpoint, in evaluation mode. No code in the file is executed.

        Raises:
            WeightsError: the file is missing, is not a training checkpoint, or does not match this version.
        """
        checkpoint = read_checkpoint(path)
        try:
            student = cls(**checkpoint["student"], pretrained=False)
            weights = {k.removeprefix("student."): v for k, v in checkpoint["state_dict"].items()}
            student.load_state_dict({k: v for k, v in weights.items() if not k.startswith("loss.")})
        except (KeyError, TypeError, RuntimeError) as error:
            raise WeightsError(f"{path}: does not hold a student of this version ({error}); train it again") from None
        return student.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint with ``weights_only``.

    Raises:
        WeightsError: the file is missing or is not a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such checkpoint; train one with `boxpromptiml fit`") from None
    except Exception as error:  # torch.load raises pickle, zip, EOF and runtime errors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: not a readable checkpoint ({reason}); copy or train it again") from None
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path}: contains a {type(content).__name__} instead of a training checkpoint; pass a .ckpt file"
        )
    return content


def count_parameters(model: nn.Module) -> int:
    """Count the parameters, trainable or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(student: Student) -> int:
    """Count the multiply–accumulates for one image at the student's size with torch's FLOP counter.

    Attention is counted as matrix products: the counter does not know all fused kernels, and the choice of kernel
    depends on torch's version, the machine and the memory format.
    """
    image = torch.zeros(1, 3, student.image_size, student.image_size)
    training = student.training
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        student.eval().forward(image)  # bypasses a compiled call, which would hide its operations
    student.train(training)
    return counter.get_total_flops() // 2
