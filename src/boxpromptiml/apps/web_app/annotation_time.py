"""How long photos are in sight until somebody decides about them, and what became of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from boxpromptiml.apps.web_app.annotation_files import Label, Notes

LOOK_SECONDS = 0.5
"""For which proposed boxes must be in sight before they can be accepted as they are: a key pressed twice is no look."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A photo that was decided here.

    Attributes:
        seconds: that it took.
        offered: boxes that a student proposed for it; None where none was asked.
        decided: the decision.
    """

    seconds: float
    offered: Label | None
    decided: Label


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the annotator is; the median is over photos decided here, in seconds, None before the first."""

    done: int
    photos: int
    median_seconds: float | None


class SightClock:
    """Seconds for which photos are in sight. They are kept in the notes, so they go on after a restart.

    Args:
        notes: of the folder.
        clock: seconds that only ever go up.
    """

    def __init__(self, notes: Notes, clock: Callable[[], float]) -> None:
        self._notes, self._clock = notes, clock
        self._since: float | None = None

    def show(self, name: str) -> None:
        """Another photo is in sight, or still the same one."""
        if self._since is None or name != self._notes.current:
            self.stop()
            self._since = self._clock()
        self._notes.current = name

    def seconds(self, name: str) -> float:
        """How long a photo that is not decided yet has been in sight."""
        running = self._since is not None and name == self._notes.current
        return self._notes.spent.get(name, 0.0) + (self._clock() - (self._since or 0.0) if running else 0.0)

    def stop(self) -> None:
        """No photo is in sight any more."""
        if self._since is not None:
            self._notes.spent[self._notes.current] = round(self.seconds(self._notes.current), 2)
            self._since = None


def median(seconds: list[float]) -> float | None:
    """The median, or None of nothing."""
    return statistics.median(seconds) if seconds else None
