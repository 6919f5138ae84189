"""What the fusion module does with validation images: how open its gates are, which prototypes it reads. All ours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from stage2_distill.model.fusion import MemoryGuidedGatedFusion
from stage2_distill.model.student import Localization

SATURATED = 0.05
"""Gates below it are near 0, gates above 1 minus it near 1."""
DEAD = 0.1
"""A prototype is dead that gets less than this part of the attention it would get if all were read alike."""
GATES = ("gate_mean", "gate_std", "gate_near_0", "gate_near_1")


class GateStatistics(Metric):
    """How open the gates of each feature are over images and positions; with several processes, over all of theirs.

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
        """Take in gates (B, L, h, w) in [0, 1]."""
        gates = gates.float()
        near_0, near_1 = (gates < SATURATED).float(), (gates > 1 - SATURATED).float()
        self.moments += torch.stack([values.mean((2, 3)).sum(0) for values in (gates, gates**2, near_0, near_1)])
        self.images += len(gates)

    def compute(self) -> dict[str, Tensor]:
        """``GATE/level_1`` and so on for each of `GATES`, in the order in which the features are fused."""
        mean, square, near_0, near_1 = self.moments / self.images
        rows = (mean, (square - mean**2).clamp(min=0).sqrt(), near_0, near_1)
        return {
            f"{name}/level_{level}": value
            for name, row in zip(GATES, rows, strict=True)
            for level, value in enumerate(row, start=1)
        }


class MemoryUsage(Metric):
    """Which prototypes positions read; with several processes, over the images of all.

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
        """Take in what positions read, (B, h·w, K) as `MemoryBank.attention` gives it."""
        attention = attention.float()
        self.mass += attention.mean(1).sum(0)
        self.entropy += evenness(attention).mean(1).sum()
        self.images += len(attention)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean share of each prototype in what is read, (K,), adding up to 1; and mean `evenness` of a position."""
        return self.mass / self.images, self.entropy / self.images


class Bank(NamedTuple):
    """A memory bank in use.

    Attributes:
        mass: (K,) share of each prototype in what is read; they add up to 1.
        position_evenness: `evenness` of what one position reads, the mean over positions.
        cosine: (K, K) between the keys of all pairs of prototypes; two that are alike find the same features.
    """

    mass: Tensor
    position_evenness: Tensor
    cosine: Tensor

    def nearest(self) -> tuple[Tensor, Tensor]:
        """The prototype that resembles each most, (K,) cosines and (K,) numbers; itself where it is alone."""
        itself = 2 * torch.eye(len(self.mass), device=self.cosine.device)
        found = (self.cosine - itself).max(1)
        return found.values, found.indices

    def scalars(self) -> dict[str, Tensor]:
        """The bank in a few numbers.

        ``memory_evenness/position`` and ``/bank`` are the `evenness` of what one position reads and of what all read
        together; ``memory_dead`` is the share of prototypes that hardly anybody reads; ``memory_similarity/mean`` and
        ``/max`` are, over prototypes, of the cosine to the nearest other one.
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
    """A fusion module, looked at while it answers. A part that it does not have is left out.

    Args:
        fusion: the module.
        device: where its answers are.
    """

    def __init__(self, fusion: MemoryGuidedGatedFusion, device: torch.device) -> None:
        self.memory = fusion.memory
        self.gates = None if fusion.gates is None else GateStatistics(len(fusion.gates)).to(device)
        self.usage = None if fusion.memory is None else MemoryUsage(len(fusion.memory.keys)).to(device)

    @torch.no_grad()
    def update(self, answer: Localization) -> None:
        """Look at one answer."""
        if self.gates is not None:
            self.gates.update(answer.gates)
        if self.memory is not None and self.usage is not None:
            self.usage.update(self.memory.attention(answer.fused))

    def gate_scalars(self) -> dict[str, Tensor]:
        """See `GateStatistics`. All processes have to ask."""
        return {} if self.gates is None else self.gates.compute()

    def bank(self) -> Bank | None:
        """The memory bank over all answers of all processes, which all have to ask."""
        if self.memory is None or self.usage is None:
            return None
        keys = F.normalize(self.memory.keys.detach().float(), dim=1)
        return Bank(*self.usage.compute(), keys @ keys.T)


def evenness(shares: Tensor) -> Tensor:
    """Entropy of shares (..., K) that add up to 1, divided by log K: 0 when one has all, 1 when all have the same."""
    return torch.special.entr(shares).sum(-1) / torch.log(torch.tensor(max(2.0, shares.shape[-1])))
