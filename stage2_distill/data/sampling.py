"""Drawing of training samples: the mixture of sources, and the seeded order of an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data.distributed import DistributedSampler

from boxpromptiml.core.limits import Count, Share, within_limits
from boxpromptiml.core.records import Batch, InputError

TOLERANCE = 0.01
"""How far the weights of all sources may deviate from a sum of 1, so that 0.33 can be used for a third."""


class Mixture:
    """Distribution of an epoch's samples over sources.

    Within a source no sample is repeated before all of its samples were drawn: a small source with a large share is
    passed through several times, a large one with a small share is sampled without replacement, newly in every epoch.

    Args:
        sources: names.
        source_of: (n,) index in ``sources`` of each sample.
        weights: source → fraction of the samples drawn, see `shares_of_draws`; None draws all samples equally.
        epoch_size: number of samples per epoch; None for as many as there are.

    Attributes:
        counts: source → number of samples.
        shares: source → fraction of the samples drawn; sums to 1.
        epoch_size: number of samples per epoch.

    Raises:
        InputError: the weights do not match the sources, or the epoch is empty.
    """

    @within_limits
    def __init__(
        self,
        sources: Sequence[str],
        source_of: NDArray[np.intp],
        weights: Mapping[str, Share] | None = None,
        epoch_size: Count | None = None,
    ) -> None:
        counts = np.bincount(source_of, minlength=len(sources))
        self.counts: dict[str, int] = dict(zip(sources, counts.tolist(), strict=True))
        self.shares = shares_of_draws(self.counts, weights or {})
        self.epoch_size = epoch_size or len(source_of)
        if weights is None:
            self._groups, shares = [np.arange(len(source_of))], [1.0]
        else:
            self._groups = np.split(np.argsort(source_of, kind="stable"), np.cumsum(counts)[:-1])
            shares = list(self.shares.values())
        self._ends = np.cumsum(shares) / np.sum(shares)

    def draw(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw (epoch_size,) sample indices, grouped by source. Fractional numbers of samples are kept on average."""
        quotas = np.diff(np.floor(self._ends * self.epoch_size + rng.random()).astype(int), prepend=0)
        return np.concatenate([_take(group, int(n), rng) for group, n in zip(self._groups, quotas, strict=True)])

    def __str__(self) -> str:
        lines = [f"{'training source':<20} samples   share of the {self.epoch_size} draws of an epoch"]
        lines += [f"{name:<20} {count:>7}   {self.shares[name]:.1%}" for name, count in self.counts.items()]
        return "\n".join(lines)


@within_limits
def shares_of_draws(counts: Mapping[str, int], weights: Mapping[str, Share]) -> dict[str, float]:
    """Compute the fraction of samples drawn from each source.

    A weight is the fraction itself, in [0, 1]. Sources without weight share the rest in proportion to their sizes; if
    all sources have a weight, the weights must sum to 1.

    Args:
        counts: source → number of samples.
        weights: source → fraction, for any subset of the sources.

    Raises:
        InputError: a source with a weight has no samples, a weight is not a fraction, or the sum is wrong.
    """
    there = ", ".join(counts)
    absent = [name for name in weights if name not in counts]
    if absent:
        raise InputError(f"data.source_weights has {', '.join(absent)}, but the training samples come from: {there}")
    rest = 1 - math.fsum(weights.values())
    others = sum(count for name, count in counts.items() if name not in weights)
    if rest < -TOLERANCE or (rest > TOLERANCE and not others):
        wanted = (
            "at most 1, because the other sources share the rest"
            if others
            else f"1, because these are all sources: {there}"
        )
        raise InputError(f"data.source_weights adds up to {1 - rest:g}; the sum must be {wanted}")
    return {name: weights[name] if name in weights else max(rest, 0) * n / others for name, n in counts.items()}


class SeededDraws(DistributedSampler[Batch]):
    """Shuffled sample indices, each with its own seed, determined only by the run's seed and the epoch.

    Therefore a resumed run, a run with a different number of loader workers, and one on a different number of processes
    with the same total batch size see bit-identical samples.

    Args:
        mixture: distribution of an epoch's samples.
        world_size: number of processes that share the samples.
        rank: index of this process among them.
        seed: the run's seed.
        first_epoch: first epoch to draw; every further pass draws the next one.

    Attributes:
        next_epoch: epoch of the next pass. It is counted here because, when a run is resumed with loader workers,
            Lightning sets a sampler's epoch only after the workers have fetched their first batches.
    """

    def __init__(self, mixture: Mixture, world_size: int, rank: int, seed: int, first_epoch: int = 0) -> None:
        super().__init__(range(mixture.epoch_size), world_size, rank, seed=seed)  # type: ignore[arg-type]
        self.mixture = mixture
        self.next_epoch = first_epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        epoch, self.next_epoch = self.next_epoch, self.next_epoch + 1
        self.set_epoch(epoch)
        rng = np.random.default_rng([self.seed, epoch])
        positions = self.mixture.draw(rng)
        seeds = rng.integers(2**32, size=len(positions))
        shuffled = np.fromiter(super().__iter__(), int, count=len(self))
        yield from zip(positions[shuffled].tolist(), seeds[shuffled].tolist(), strict=True)


def _take(group: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw ``count`` members: each equally often, plus a random subset once more."""
    passes, rest = divmod(count, len(group))
    return np.concatenate([np.tile(group, passes), rng.choice(group, rest, replace=False)])
