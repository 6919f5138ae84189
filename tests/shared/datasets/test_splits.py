from collections import Counter
from itertools import chain, combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import ListedImage
from boxpromptiml.datasets.splits import draw_groups, in_val

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=9)


def entries(sizes, authentic=()):
    """A set whose i-th group has ``sizes[i]`` manipulated images."""
    manipulated = [
        ListedImage(Path(f"{g}-{i}"), Path("m"), f"g{g}") for g, size in enumerate(sizes) for i in range(size)
    ]
    return manipulated + [ListedImage(Path(group), None, group) for group in authentic]


@given(SIZES, st.integers(0, 60), st.integers(0, 5))
def test_the_draw_is_as_close_to_the_target_as_whole_groups_allow(sizes, wanted, seed):
    drawn = draw_groups(entries(sizes), wanted, seed)
    reached = sum(size for g, size in enumerate(sizes) if f"g{g}" in drawn)
    subsets = chain.from_iterable(combinations(sizes, n) for n in range(len(sizes) + 1))
    assert abs(reached - wanted) == min(abs(sum(subset) - wanted) for subset in subsets)


def test_a_set_like_nist16_gives_the_exact_number_and_shares_no_photo():
    sizes = [10] * 50 + [2] * 32
    tested = draw_groups(entries(sizes), 150, seed=0)
    counts = Counter(entry.group in tested for entry in entries(sizes))
    assert counts == {True: 150, False: 414}
    assert tested == draw_groups(reversed(entries(sizes)), 150, seed=0)
    assert tested != draw_groups(entries(sizes), 150, seed=1)


def test_every_group_can_be_drawn():
    drawn = Counter(chain.from_iterable(draw_groups(entries([1] * 10), 5, seed) for seed in range(60)))
    assert len(drawn) == 10
    assert 15 < min(drawn.values()) <= max(drawn.values()) < 45


def test_authentic_images_follow_their_photo_or_the_proportion():
    twins = [f"g{g}" for g in range(20)]
    others = [f"other{i}" for i in range(400)]
    drawn = draw_groups(entries([1] * 20, [*twins, *others]), 5, seed=0)
    assert len(drawn & set(twins)) == 5
    assert 60 < len(drawn & set(others)) < 140


def test_asking_for_more_than_there_is_takes_everything():
    assert draw_groups(entries([2, 3]), 50, seed=0) == {"g0", "g1"}
    assert draw_groups([], 5, seed=0) == set()


def test_validation_is_decided_group_by_group():
    groups = [f"photo{i}" for i in range(1000)]
    chosen = {group for group in groups if in_val(group, 0.1, seed=0)}
    assert 60 < len(chosen) < 140
    assert chosen == {group for group in groups if in_val(group, 0.1, seed=0)}
    assert chosen != {group for group in groups if in_val(group, 0.1, seed=1)}
    assert chosen < {group for group in groups if in_val(group, 0.3, seed=0)}
    assert not any(in_val(group, 0, seed=0) for group in groups)
    for share in (1, -0.1):
        with pytest.raises(InputError, match="val_share is"):
            in_val("photo", share, seed=0)
