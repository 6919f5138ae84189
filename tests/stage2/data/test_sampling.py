"""How often each source is drawn; the draws depend only on the seed and the epoch."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.core.records import InputError
from stage2_distill.data.sampling import Mixture, SeededDraws, shares_of_draws

SOURCES = ["large", "middle", "small"]
SOURCE_OF = np.repeat([2, 0, 1], [5, 80, 15])  # sample order differs from the order of source names


def drawn_sources(mixture, epochs=1):
    positions = [p for epoch in range(epochs) for p, _ in SeededDraws(mixture, 1, 0, 3, epoch)]
    return Counter(SOURCES[SOURCE_OF[p]] for p in positions)


def test_without_weights_every_sample_is_drawn_once():
    positions = [position for position, _ in SeededDraws(Mixture(SOURCES, SOURCE_OF), 1, 0, 3)]
    assert sorted(positions) == list(range(100))
    assert positions != sorted(positions)


def test_weights_are_fractions_of_the_draws():
    mixture = Mixture(SOURCES, SOURCE_OF, {"small": 0.5, "middle": 0.2}, epoch_size=1000)
    assert drawn_sources(mixture) == {"small": 500, "middle": 200, "large": 300}


def test_unlisted_sources_share_the_rest_in_proportion_to_their_samples():
    mixture = Mixture(SOURCES, SOURCE_OF, {"small": 0.05}, epoch_size=1900)
    assert mixture.shares == pytest.approx({"small": 0.05, "middle": 0.95 * 15 / 95, "large": 0.95 * 80 / 95})


def test_a_source_is_exhausted_before_samples_repeat():
    mixture = Mixture(SOURCES, SOURCE_OF, {"small": 0.22, "large": 0.4}, epoch_size=100)
    times = Counter(position for position, _ in SeededDraws(mixture, 1, 0, 0))
    assert [times[p] for p in range(5)].count(5) == 2  # 22 draws of 5 samples
    assert [times[p] for p in range(5)].count(4) == 3
    assert max(times[p] for p in range(5, 85)) == 1  # 40 draws of 80


def test_a_weight_below_one_draw_per_epoch_holds_over_several_epochs():
    mixture = Mixture(SOURCES, SOURCE_OF, {"small": 0.01, "middle": 0.0}, epoch_size=20)
    drawn = drawn_sources(mixture, epochs=500)
    assert drawn.total() == 500 * 20
    assert drawn["small"] == pytest.approx(100, abs=30)
    assert "middle" not in drawn


@pytest.mark.parametrize(("epoch_size", "least", "most"), [(30, 0, 1), (250, 2, 3)])
def test_an_epoch_can_be_shorter_or_longer_than_the_data(epoch_size, least, most):
    mixture = Mixture(SOURCES, SOURCE_OF, epoch_size=epoch_size)
    times = Counter(position for position, _ in SeededDraws(mixture, 1, 0, 0))
    assert times.total() == epoch_size
    assert {times[p] for p in range(100)} == {least, most}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"small": 0.1, "smal": 0.2}, r"has smal, but the training samples come from: large, middle, small"),
        ({"small": 1.2}, r"weights.small is 1.2; use a share from 0 to 1, such as 0.012 for 1.2 %"),
        ({"small": float("nan")}, r"weights.small is nan; use a share"),
        ({"small": 0.8, "large": 0.4}, r"adds up to 1.2; the sum must be at most 1"),
        (
            {"small": 0.2, "large": 0.4, "middle": 0.1},
            r"adds up to 0.7; the sum must be 1, because these are all sources",
        ),
    ],
)
def test_invalid_weights_are_refused(weights, words):
    with pytest.raises(InputError, match=words):
        Mixture(SOURCES, SOURCE_OF, weights)


def test_rounded_weights_are_accepted():
    shares = shares_of_draws({"a": 1, "b": 2, "c": 3}, {"a": 0.333, "b": 0.333, "c": 0.333})
    assert list(shares.values()) == [0.333] * 3


def test_an_empty_epoch_is_refused():
    with pytest.raises(InputError, match=r"epoch_size is 0"):
        Mixture(SOURCES, SOURCE_OF, epoch_size=0)


def test_the_mixture_describes_itself():
    text = str(Mixture(SOURCES, SOURCE_OF, {"small": 0.5}))
    assert "100 draws" in text
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["large", "80", "42.1%"],
        ["middle", "15", "7.9%"],
        ["small", "5", "50.0%"],
    ]


@given(
    processes=st.sampled_from([2, 3, 4]),
    seed=st.integers(0, 99),
    weights=st.sampled_from([None, {"small": 0.4}]),
    epoch_size=st.sampled_from([None, 96]),
)
def test_processes_divide_the_draws_of_each_step(processes, seed, weights, epoch_size):
    mixture = Mixture(SOURCES, SOURCE_OF, weights, epoch_size)
    alone = list(SeededDraws(mixture, 1, 0, seed))
    shared = [list(SeededDraws(mixture, processes, rank, seed)) for rank in range(processes)]
    together = [draw for step in zip(*shared, strict=True) for draw in step]
    assert together[: len(alone)] == alone
    assert set(together) == set(alone)  # padding only repeats draws


def test_draws_depend_only_on_seed_and_epoch():
    mixture = Mixture(SOURCES, SOURCE_OF, {"small": 0.5})
    first = list(SeededDraws(mixture, 1, 0, 1))
    assert first == list(SeededDraws(mixture, 1, 0, 1))
    resumed = SeededDraws(mixture, 1, 0, 1, first_epoch=1)
    running = SeededDraws(mixture, 1, 0, 1)
    assert list(running) == first
    assert list(running) == list(resumed) != first
    assert not {seed for _, seed in first} & {seed for _, seed in SeededDraws(mixture, 1, 0, 2)}
    again = [seeds for p in range(5) if len(seeds := [s for q, s in first if q == p]) > 1]
    assert again
    assert all(len(set(seeds)) == len(seeds) for seeds in again)  # a repeated sample is augmented differently


def test_a_million_samples_are_drawn_in_seconds():
    source_of = np.random.default_rng(0).integers(0, 3, 1_000_000)
    started = time.perf_counter()
    draws = SeededDraws(Mixture(SOURCES, source_of, {"small": 0.5}), 1, 0, 0)
    assert sum(1 for _ in draws) == 1_000_000
    assert time.perf_counter() - started < 10
