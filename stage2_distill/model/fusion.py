"""Memory-guided gated fusion module (MGFM): fuses backbone features into one manipulation map.

Symbols follow the paper (arXiv 2511.20359): F′ᵢ aligned features, Gᵢ gates, G_avg the real-time gate prior, Ā_mem the
memory prior. Where the paper is not explicit (one-channel gates, the form of A′_base, bank size, refinement), the
choices are ours, and each is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boxpromptiml.core.records import InputError

MemoryUpdate = Literal["gradient", "ema"]


class Fusion(NamedTuple):
    """Outputs of the module, all at the fusion stride.

    Attributes:
        logits: (B, 1, h, w) refined map A_refined before the sigmoid.
        gate_prior: (B, 1, h, w) G_avg in [0, 1]; ones without gating.
        memory_prior: (B, 1, h, w) Ā_mem in [0, 1]; zeros without memory.
        fused: (B, C, h, w) gate-weighted features.
        gates: (B, L, h, w) Gᵢ in [0, 1] of the L features; ones without gating.
    """

    logits: Tensor
    gate_prior: Tensor
    memory_prior: Tensor
    fused: Tensor
    gates: Tensor


class MemoryBank(nn.Module):
    """K prototypes of manipulation patterns, read at every position by scaled dot-product attention.

    Args:
        channels: C of the features.
        prototypes: K.
        update: ``gradient`` learns the prototypes by back-propagation (our default reading of the paper); ``ema`` moves
            them towards features pooled under the teacher's mask, by `ema_update` (ours).
        decay: decay of the moving average, in [0, 1); only for ``ema``.
    """

    def __init__(self, channels: int, prototypes: int, update: MemoryUpdate, decay: float) -> None:
        super().__init__()
        learned = update == "gradient"
        self.keys = nn.Parameter(torch.randn(prototypes, channels), requires_grad=learned)
        self.values = nn.Parameter(torch.randn(prototypes, channels), requires_grad=learned)
        self.query = nn.Conv2d(channels, channels, 1)
        self.to_prior = nn.Conv2d(channels, 1, 1)
        self.learned = learned
        self.decay = decay

    def forward(self, fused: Tensor) -> Tensor:
        """Compute the memory prior Ā_mem (B, 1, h, w) in [0, 1] of features (B, C, h, w)."""
        batch, channels, height, width = fused.shape
        queries = self.query(fused).flatten(2).transpose(1, 2)[:, None]  # a dimension for heads, which ONNX requires
        keys, values = (bank.to(queries.dtype).expand(batch, 1, -1, -1) for bank in (self.keys, self.values))
        read = F.scaled_dot_product_attention(queries, keys, values)[:, 0]
        return torch.sigmoid(self.to_prior(read.transpose(1, 2).reshape(batch, channels, height, width)))

    def attention(self, fused: Tensor) -> Tensor:
        """Compute the attention weights (B, h·w, K) of every position of features (B, C, h, w), summing to 1 over K."""
        queries = self.query(fused.to(self.keys.dtype)).flatten(2).transpose(1, 2)
        return torch.softmax(queries @ self.keys.T / self.keys.shape[1] ** 0.5, -1)

    @torch.no_grad()
    def ema_update(self, pooled: Tensor) -> None:
        """Move the nearest prototype of each pooled feature towards it (exponential moving average, ours).

        Args:
            pooled: (N, C) features averaged under the teacher's mask. In distributed training, those of all processes,
                so that all copies of the bank stay equal.
        """
        if len(pooled) == 0:
            return
        pooled = pooled.to(self.values.dtype)
        queries = self.query(pooled[:, :, None, None]).flatten(1)  # keys are in the space of queries
        nearest = (F.normalize(queries, dim=1) @ F.normalize(self.keys, dim=1).T).argmax(1)
        assigned = F.one_hot(nearest, len(self.keys)).to(pooled.dtype)
        hits = assigned.sum(0)[:, None]
        for bank, features in ((self.keys, queries), (self.values, pooled)):
            means = assigned.T @ features / hits.clamp(min=1)
            bank.copy_(torch.where(hits > 0, self.decay * bank + (1 - self.decay) * means, bank))


class MemoryGuidedGatedFusion(nn.Module):
    """Align, gate, fuse, guide by both priors, refine.

    fused = Σ Gᵢ F′ᵢ / Σ Gᵢ; G_avg = mean Gᵢ; A′_base = σ(conv(fused));
    A_final = α (A′_base ⊙ G_avg) + (1 − α) Ā_mem; A_refined = refine([fused · (1 + A_final), A_final]).

    Args:
        in_channels: channels of the features, in the order of `forward`.
        channels: C of the aligned features.
        gating: False fuses with equal weights and sets G_avg to 1 (ablation "without gating").
        memory: False omits the bank and sets A_final to A′_base ⊙ G_avg (ablation "without memory").
        prototypes: K of the memory bank.
        alpha: weight of the gate prior relative to the memory prior, in [0, 1].
        learn_alpha: learn it, starting from ``alpha``.
        memory_update: see `MemoryBank`.
        memory_decay: see `MemoryBank`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        gating: bool,
        memory: bool,
        prototypes: int,
        alpha: float,
        learn_alpha: bool,
        memory_update: MemoryUpdate,
        memory_decay: float,
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1 or (learn_alpha and alpha in (0, 1)):
            raise InputError(f"alpha must lie in [0, 1], and strictly inside to be learned; found {alpha}")
        self.align = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.gates = nn.ModuleList(nn.Conv2d(channels, 1, 1) for _ in in_channels) if gating else None
        self.memory = MemoryBank(channels, prototypes, memory_update, memory_decay) if memory else None
        self.base = nn.Conv2d(channels, 1, 3, padding=1)
        self.alpha_logit = nn.Parameter(torch.logit(torch.tensor(float(alpha))), requires_grad=learn_alpha)
        self.refine = nn.Sequential(
            conv_block(channels + 1, channels),
            conv_block(channels, channels // 2),  # halved to stay inside the published 1.4 GMACs
            nn.Conv2d(channels // 2, 1, 1),
        )

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Fusion:
        """Fuse features (B, Cᵢ, hᵢ, wᵢ) on a grid of ``size`` = (h, w)."""
        aligned = [_align(align, feature, size) for align, feature in zip(self.align, features, strict=True)]
        if self.gates is None:
            fused = torch.stack(aligned).mean(0)
            gates = torch.ones_like(torch.stack([feature[:, :1] for feature in aligned]))
        else:
            gates = torch.stack(
                [torch.sigmoid(gate(feature)) for gate, feature in zip(self.gates, aligned, strict=True)]
            )
            fused = gates[0] * aligned[0]
            for gate, feature in zip(gates[1:], aligned[1:], strict=True):  # stacking would copy the features
                fused = torch.addcmul(fused, gate, feature)
            fused = fused / gates.sum(0).clamp(min=1e-4)
        gate_prior = gates.mean(0)
        guided = torch.sigmoid(self.base(fused)) * gate_prior
        if self.memory is None:
            memory_prior = torch.zeros_like(guided)
            final = guided
        else:
            memory_prior = self.memory(fused)
            alpha = torch.sigmoid(self.alpha_logit)
            final = alpha * guided + (1 - alpha) * memory_prior
        logits = self.refine(torch.cat([fused * (1 + final), final], 1))
        return Fusion(logits, gate_prior, memory_prior, fused, gates[:, :, 0].transpose(0, 1))


def pool_under_mask(features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Average features under each image's mask.

    Args:
        features: (B, C, h, w).
        mask: (B, 1, H, W) in [0, 1], area-averaged to the features' grid.

    Returns:
        (B, C) means, and (B,) bool that is False where the mask is empty and the mean is undefined.
    """
    weight = F.adaptive_avg_pool2d(mask, (features.shape[-2], features.shape[-1]))
    total = weight.sum((1, 2, 3))
    return (features * weight).sum((2, 3)) / total.clamp(min=1e-6)[:, None], total > 0


def _align(project: nn.Module, feature: Tensor, size: tuple[int, int]) -> Tensor:
    """Project to C channels and resize; these commute, so the projection is applied on the smaller grid."""
    if feature.shape[-2] > size[0]:
        return project(F.interpolate(feature, size, mode="bilinear", align_corners=False))
    return F.interpolate(project(feature), size, mode="bilinear", align_corners=False)


def conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 3 × 3 convolution, batch normalization and GELU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.GELU()
    )
