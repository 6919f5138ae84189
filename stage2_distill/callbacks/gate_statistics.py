"""Statistics of the fusion module on validation images: gate openings and prototype usage. All ours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from stage2_distill.model.fusion import MemoryGuidedGatedFusion
from stage2_distill.model.student import Localization

SATURATED = 0.05
"""Gates below this count as near 0, gates above 1 minus this as near 1."""
DEAD = 0.1
"""A prototype is dead if it gets less than this fraction of its share under uniform attention."""
GATES = ("gate_mean", "gate_std", "gate_near_0", "gate_near_1")


class GateStatistics(Metric):
    """Statistics of each feature's gates over images and positions, synchronized across processes.

    Args:
        levels: number of gated features.
    """

    full_state_update = False
    moments: Tensor
    images: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.add_state("moments", torch.zeros(4, levels), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, gates: Tensor) -> None:
        """Accumulate gates (B, L, h, w) in [0, 1]."""
        gates = gates.float()
        near_0, near_1 = (gates < SATURATED).float(), (gates > 1 - SATURATED).float()
        self.moments += torch.stack([values.mean((2, 3)).sum(0) for values in (gates, gates**2, near_0, near_1)])
        self.images += len(gates)

    def compute(self) -> dict[str, Tensor]:
        """Return ``GATE/level_1`` and so on for each of `GATES`, in the order in which the features are fused."""
        mean, square, near_0, near_1 = self.moments / self.images
        rows = (mean, (square - mean**2).clamp(min=0).sqrt(), near_0, near_1)
        return {
            f"{name}/level_{level}": value
            for name, row in zip(GATES, rows, strict=True)
            for level, value in enumerate(row, start=1)
        }


class MemoryUsage(Metric):
    """Attention to the prototypes over images and positions, synchronized across processes.

    Args:
        prototypes: K.
    """

    full_state_update = False
    mass: Tensor
    entropy: Tensor
    images: Tensor

    def __init__(self, prototypes: int) -> None:
        super().__init__()
        self.add_state("mass", torch.zeros(prototypes), dist_reduce_fx="sum")
        self.add_state("entropy", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, attention: Tensor) -> None:
        """Accumulate attention weights (B, h·w, K), as returned by `MemoryBank.attention`."""
        attention = attention.float()
        self.mass += attention.mean(1).sum(0)
        self.entropy += evenness(attention).mean(1).sum()
        self.images += len(attention)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the mean attention to each prototype, (K,), summing to 1, and the mean `evenness` over positions."""
        return self.mass / self.images, self.entropy / self.images


class Bank(NamedTuple):
    """Usage of a memory bank.

    Attributes:
        mass: (K,) mean attention to each prototype; sums to 1.
        position_evenness: mean over positions of the `evenness` of their attention.
        cosine: (K, K) cosine similarity of the prototypes' keys; similar keys respond to the same features.
    """

    mass: Tensor
    position_evenness: Tensor
    cosine: Tensor

    def nearest(self) -> tuple[Tensor, Tensor]:
        """Return each prototype's nearest neighbour: cosine similarities (K,) and indices (K,); itself if K is 1."""
        itself = 2 * torch.eye(len(self.mass), device=self.cosine.device)
        found = (self.cosine - itself).max(1)
        return found.values, found.indices

    def scalars(self) -> dict[str, Tensor]:
        """Summarize the bank in a few numbers.

        ``memory_evenness/position`` and ``/bank`` are the `evenness` of the attention of single positions and of all
        positions together; ``memory_dead`` is the fraction of dead prototypes; ``memory_similarity/mean`` and ``/max``
        are taken over the prototypes' cosine similarities to their nearest neighbour.
        """
        cosine, _ = self.nearest()
        return {
            "memory_evenness/position": self.position_evenness,
            "memory_evenness/bank": evenness(self.mass),
            "memory_dead": (self.mass < DEAD / len(self.mass)).float().mean(),
            "memory_similarity/mean": cosine.mean(),
            "memory_similarity/max": cosine.max(),
        }


class FusionStatistics:
    """Statistics of a fusion module collected from its outputs. Parts that the module lacks are omitted.

    Args:
        fusion: the module.
        device: device of its outputs.
    """

    def __init__(self, fusion: MemoryGuidedGatedFusion, device: torch.device) -> None:
        self.memory = fusion.memory
        self.gates = None if fusion.gates is None else GateStatistics(len(fusion.gates)).to(device)
        self.usage = None if fusion.memory is None else MemoryUsage(len(fusion.memory.keys)).to(device)

    @torch.no_grad()
    def update(self, prediction: Localization) -> None:
        """Accumulate one output."""
        if self.gates is not None:
            self.gates.update(prediction.gates)
        if self.memory is not None and self.usage is not None:
            self.usage.update(self.memory.attention(prediction.fused))

    def gate_scalars(self) -> dict[str, Tensor]:
        """Return the result of `GateStatistics`. Has to be called in all processes."""
        return {} if self.gates is None else self.gates.compute()

    def bank(self) -> Bank | None:
        """Return the usage of the memory bank over all processes. Has to be called in all of them."""
        if self.memory is None or self.usage is None:
            return None
        keys = F.normalize(self.memory.keys.detach().float(), dim=1)
        return Bank(*self.usage.compute(), keys @ keys.T)


def evenness(shares: Tensor) -> Tensor:
    """Entropy of weights (..., K) that sum to 1, divided by log K: 0 if one has all weight, 1 if all are equal."""
    return torch.special.entr(shares).sum(-1) / torch.log(torch.tensor(max(2.0, shares.shape[-1])))
