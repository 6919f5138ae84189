"""Seconds count while a photo is in sight, and go on where they were."""

import pytest

from boxpromptiml.apps.web_app.annotation_files import Notes
from boxpromptiml.apps.web_app.annotation_time import SightClock, median


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_only_the_photo_in_sight_ages(clock):
    sight = SightClock(Notes(), clock)
    sight.show("a.png")
    clock.now += 3
    sight.show("b.png")
    clock.now += 2
    assert (sight.seconds("a.png"), sight.seconds("b.png"), sight.seconds("c.png")) == (3, 2, 0)


def test_the_same_photo_shown_again_goes_on(clock):
    sight = SightClock(Notes(), clock)
    sight.show("a.png")
    clock.now += 3
    sight.show("a.png")
    clock.now += 1
    assert sight.seconds("a.png") == 4


def test_a_stopped_clock_does_not_run_and_a_later_one_goes_on_from_the_notes(clock):
    notes = Notes()
    sight = SightClock(notes, clock)
    sight.show("a.png")
    clock.now += 3
    sight.stop()
    clock.now += 50
    assert notes.spent == {"a.png": 3}
    again = SightClock(notes, clock)
    again.show("a.png")
    clock.now += 1
    assert again.seconds("a.png") == 4


def test_the_median_of_nothing_is_none():
    assert median([]) is None
    assert median([1.0, 9.0, 2.0]) == 2
