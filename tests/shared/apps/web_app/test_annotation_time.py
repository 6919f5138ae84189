"""Seconds are counted per photo while it is shown, and added to those of earlier sessions."""

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


def test_only_the_shown_photo_accumulates_time(clock):
    sight = SightClock(Notes(), clock)
    sight.show("a.png")
    clock.now += 3
    sight.show("b.png")
    clock.now += 2
    assert (sight.seconds("a.png"), sight.seconds("b.png"), sight.seconds("c.png")) == (3, 2, 0)


def test_showing_a_photo_again_continues_its_count(clock):
    sight = SightClock(Notes(), clock)
    sight.show("a.png")
    clock.now += 3
    sight.show("a.png")
    clock.now += 1
    assert sight.seconds("a.png") == 4


def test_a_stopped_clock_pauses_and_a_new_one_continues_from_saved_seconds(clock):
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
