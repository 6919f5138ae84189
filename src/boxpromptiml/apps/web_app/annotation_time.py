"""How long each photo is shown before it is decided, and what was decided."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from boxpromptiml.apps.web_app.annotation_files import Label, Notes

LOOK_SECONDS = 0.5
"""Minimum time for which proposed boxes must be shown before they can be accepted, to ignore accidental key presses."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A photo that was decided in the app.

    Attributes:
        seconds: time until the decision.
        offered: boxes proposed by a student; None if no student was used.
        decided: the decision.
    """

    seconds: float
    offered: Label | None
    decided: Label


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the annotation; the median time is over photos decided in the app, None before the first."""

    done: int
    photos: int
    median_seconds: float | None


class SightClock:
    """Measures how long photos are shown. The times are stored in the notes, so they continue after a restart.

    Args:
        notes: notes of the annotated folder.
        clock: monotonic time in seconds.
    """

    def __init__(self, notes: Notes, clock: Callable[[], float]) -> None:
        self._notes, self._clock = notes, clock
        self._since: float | None = None

    def show(self, name: str) -> None:
        """Start the clock for a photo, unless it is already running for it."""
        if self._since is None or name != self._notes.current:
            self.stop()
            self._since = self._clock()
        self._notes.current = name

    def seconds(self, name: str) -> float:
        """Return how long an undecided photo has been shown."""
        running = self._since is not None and name == self._notes.current
        return self._notes.spent.get(name, 0.0) + (self._clock() - (self._since or 0.0) if running else 0.0)

    def stop(self) -> None:
        """Stop the clock."""
        if self._since is not None:
            self._notes.spent[self._notes.current] = round(self.seconds(self._notes.current), 2)
            self._since = None


def median(seconds: list[float]) -> float | None:
    """Return the median, or None for an empty list."""
    return statistics.median(seconds) if seconds else None
