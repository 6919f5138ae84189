import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.datasets.check import hamming
from boxpromptiml.datasets.check.hamming import near_pairs

hashes = st.lists(st.integers(0, 2**64 - 1), max_size=12)


def by_brute_force(queries, targets, limit):
    return [
        (i, j) for i, q in enumerate(queries) for j, t in enumerate(targets) if bin(q ^ t).count("1") <= limit
    ]  # fmt: skip


def found(queries, targets, limit):
    pairs = near_pairs(np.array(queries, np.uint64), np.array(targets, np.uint64), limit)
    return [tuple(pair) for pair in pairs.tolist()]


@given(hashes, hashes, st.lists(st.lists(st.integers(0, 63), max_size=16), max_size=4), st.integers(0, 16))
def test_the_pairs_found_equal_those_of_a_brute_force_search(queries, targets, flips, limit):
    for query, bits in zip(queries, flips, strict=False):  # random hashes are hardly ever close to each other
        targets = [*targets, query ^ sum(1 << bit for bit in set(bits))]
    assert found(queries, targets, limit) == by_brute_force(queries, targets, limit)


@given(hashes, st.lists(st.lists(st.integers(0, 63), max_size=16), max_size=4), st.integers(0, 16))
def test_within_one_list_each_pair_is_found_once(values, flips, limit):
    values = values + [value ^ sum(1 << bit for bit in set(bits)) for value, bits in zip(values, flips, strict=False)]
    array = np.array(values, np.uint64)
    expected = [(i, j) for i, j in by_brute_force(values, values, limit) if i < j]
    assert [tuple(pair) for pair in near_pairs(array, array, limit).tolist()] == expected


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_the_chunk_size_changes_nothing(monkeypatch, at_once):
    rng = np.random.default_rng(0)
    near = rng.integers(0, 2**63, 5, np.uint64).repeat(12) ^ (np.uint64(1) << rng.integers(0, 64, 60, np.uint64))
    expected = by_brute_force(near.tolist(), near.tolist(), 6)
    monkeypatch.setattr(hamming, "AT_ONCE", at_once)
    assert found(near, near, 6) == expected


def test_twenty_thousand_hashes_take_seconds():
    rng = np.random.default_rng(0)
    many = rng.integers(0, 2**63, 20_000, np.uint64)
    many[1] = many[0] ^ np.uint64(0b1011)
    assert near_pairs(many, many, 8).tolist() == [[0, 1]]
