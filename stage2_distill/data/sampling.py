"""Which training samples an epoch draws: the mixture of sources, and the seeded order of the draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data.distributed import DistributedSampler

from boxpromptiml.core.limits import Count, Share, within_limits
from boxpromptiml.core.records import Batch, InputError

TOLERANCE = 0.01
"""How far from 1 weights of all sources may add up, so that 0.33 can stand for a third."""


class Mixture:
    """How the draws of an epoch are shared among sources.

    Within a source no sample is drawn again before all of its samples were: a small source with a large share is gone
    through several times, a large one with a small share is drawn from without replacement, anew in every epoch.

    Args:
        sources: names.
        source_of: (n,) position in ``sources`` of each sample.
        weights: source → share of the draws, see `shares_of_draws`; None draws all samples alike.
        epoch_size: draws in an epoch; None for as many as there are samples.

    Attributes:
        counts: source → number of samples.
        shares: source → share of the draws; they add up to 1.
        epoch_size: draws in an epoch.

    Raises:
        InputError: the weights do not fit the sources, or the epoch is empty.
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
        """(epoch_size,) positions, source after source. Shares that are no whole number of draws hold on average."""
        quotas = np.diff(np.floor(self._ends * self.epoch_size + rng.random()).astype(int), prepend=0)
        return np.concatenate([_take(group, int(n), rng) for group, n in zip(self._groups, quotas, strict=True)])

    def __str__(self) -> str:
        lines = [f"{'training source':<20} samples   share of the {self.epoch_size} draws of an epoch"]
        lines += [f"{name:<20} {count:>7}   {self.shares[name]:.1%}" for name, count in self.counts.items()]
        return "\n".join(lines)


@within_limits
def shares_of_draws(counts: Mapping[str, int], weights: Mapping[str, Share]) -> dict[str, float]:
    """Share of the draws that each source gets.

    A weight is the share itself, in [0, 1]. What the weights leave of 1 goes to the sources that are not named, in
    proportion to their samples; where all are named, the weights add up to 1.

    Args:
        counts: source → number of samples.
        weights: source → share, for some sources, all or none.

    Raises:
        InputError: a named source has no samples, a weight is no share, or the weights add up to something else.
    """
    there = ", ".join(counts)
    absent = [name for name in weights if name not in counts]
    if absent:
        raise InputError(f"data.source_weights names {', '.join(absent)}, but the training samples come from: {there}")
    rest = 1 - math.fsum(weights.values())
    others = sum(count for name, count in counts.items() if name not in weights)
    if rest < -TOLERANCE or (rest > TOLERANCE and not others):
        wanted = "at most 1, the others share the rest" if others else f"1, for these are all sources: {there}"
        raise InputError(f"data.source_weights add up to {1 - rest:g}; make it {wanted}")
    return {name: weights[name] if name in weights else max(rest, 0) * n / others for name, n in counts.items()}


class SeededDraws(DistributedSampler[Batch]):
    """Shuffled positions, each with a seed of its own, from the run's seed and the epoch alone.

    So a resumed run, one with other loader workers, and one on other processes with the same images a step in all, see
    the samples of the uninterrupted one bit by bit.

    Args:
        mixture: what an epoch draws.
        world_size: number of processes that share the draws.
        rank: of this process.
        seed: of the run.
        first_epoch: the epoch that is drawn first; every further pass draws the next one.

    Attributes:
        next_epoch: that the next pass will draw. It is counted here because Lightning tells a sampler its epoch too
            late when a run resumes with loader workers: they have fetched their first batches by then.
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
    """Every member as often as any other, and some of them, by chance, once more."""
    passes, rest = divmod(count, len(group))
    return np.concatenate([np.tile(group, passes), rng.choice(group, rest, replace=False)])
