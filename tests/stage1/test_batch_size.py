import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightning.fabric import Fabric

from stage1_pseudomask.batch_size import MOST, fitting_batch_size, largest_fitting
from stage1_pseudomask.teachers.grabcut import GrabCut


@pytest.mark.parametrize(("room", "images"), [(1, 1), (15, 1), (30, 4), (79, 8), (90, 16), (1e9, MOST)])
def test_the_batch_is_as_large_as_memory_allows(room, images):
    assert largest_fitting(one=15, two=20, room=room) == images


@given(st.floats(1, 100), st.floats(0, 200), st.floats(0, 5_000))
def test_the_chosen_batch_fits_and_twice_its_size_does_not(one, two, room):
    images = largest_fitting(one, two, room)

    def needed(count):
        return one + (count - 1) * max(two - one, 0)

    assert images == 1 or needed(images) <= room
    assert images == MOST or needed(2 * images) > room


def test_nothing_is_measured_on_a_cpu():
    assert fitting_batch_size(Fabric(accelerator="cpu", devices=1), GrabCut(), 64) == 8
