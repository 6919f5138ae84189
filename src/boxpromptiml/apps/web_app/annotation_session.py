"""What people say about the photos of a folder: coarse boxes, or that nothing was manipulated.

Every decision is in ``manifest.json`` before the next photo is shown. ``annotation.json`` beside it holds the rest:
where the annotator is, boxes that are drawn and not accepted yet, seconds, and the steps that can be undone. Both are
written whole or not at all, the manifest first, so a crash at any moment loses no decision. Photos are asked for by
their place in the folder, never by a path.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from threading import RLock

import msgspec
import numpy as np

from boxpromptiml.apps.web_app.annotation_files import (
    BEFORE,
    MANIFEST,
    NOTES,
    AnnotationSessionError,
    Label,
    Step,
    inside,
    label_of,
    read_notes,
    read_records,
    reason_against,
)
from boxpromptiml.core import boxes as box_geometry
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.boxes import Boxes, as_boxes
from boxpromptiml.core.records import ImageRecord, Split
from boxpromptiml.datasets.splits import in_val
from boxpromptiml.images import look_through, read_size
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.runtime.locks import sole_use

UNDOABLE = 200
"""Steps that are remembered."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the annotator is; the median is over photos decided here, in seconds, None before the first."""

    done: int
    photos: int
    median_seconds: float | None


class AnnotationSession:
    """The photos of a folder and what was said about them. Its methods may be called from several threads.

    Args:
        folder: of photos, with a manifest or without one.
        val_share: share of newly annotated photos that go to val, by name; the others go to train.
        seed: of that choice.
        clock: seconds that only ever go up.

    Attributes:
        folder: with links resolved.
        given: the folder as it was given.
        names: of the photos, relative to the folder; a place is an index of it.
        left_out: why some photos cannot be annotated.
        not_looked_at: what else the folder holds, in words; empty where there is nothing.

    Raises:
        InputError: there is no photo, or one of the two files cannot be used.
    """

    def __init__(
        self, folder: Path, val_share: float = 0.0, seed: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        in_val("", val_share, seed)  # refuses a share without meaning
        self.folder, self.given = folder.resolve(), folder
        self._val_share, self._seed, self._clock = val_share, seed, clock
        self._records = read_records(self.folder)
        masks = {record.mask_path for record in self._records.values()}
        self.names: list[str] = []
        self.left_out: list[str] = []
        content = look_through(self.folder)
        self.not_looked_at = content.remark().removeprefix(f"{self.folder}: ")
        for path in content.images:
            if path not in masks:
                name = path.relative_to(self.folder).as_posix()
                reason = reason_against(self.folder, name)
                (self.left_out if reason else self.names).append(reason or name)
        if not self.names:
            seen = f" ({self.not_looked_at})" if self.not_looked_at else ""
            raise AnnotationSessionError(f"{folder}: no photo found{seen}; name a folder of photos")
        self._places = {name: place for place, name in enumerate(self.names)}
        self._notes = read_notes(self.folder)
        self._notes.steps = [step for step in self._notes.steps if step.file in self._places]
        self._since: float | None = None
        self._unreadable: set[int] = set()
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def current(self) -> int:
        """Place of the photo that was shown last; at first, of the first undecided one."""
        with self._lock:
            there = self._places.get(self._notes.current)
            return there if there is not None else self.next_open(-1) or 0

    def path(self, place: int) -> Path:
        """The photo's file, with links resolved.

        Raises:
            AnnotationSessionError: there is no such place, or its file has become a link that leads out of the folder.
        """
        return inside(self.folder, self._name(place))

    def label(self, place: int) -> Label | None:
        """What was decided about a photo, or None."""
        with self._lock:
            record = self._records.get(self._name(place))
            return None if record is None else label_of(record.boxes_xyxy, record.authentic)

    def boxes(self, place: int) -> Boxes:
        """Boxes to show: those drawn and not accepted yet, else those that were accepted."""
        with self._lock:
            shown = self._notes.drafts.get(self._name(place)) or self.label(place) or Label()
            return as_boxes(shown.boxes_xyxy)

    def place_of(self, image_id: int, width: int, height: int) -> int | None:
        """Place of the photo that the manifest knows by an id, if its size is that, too."""
        with self._lock:
            for name, record in self._records.items():
                if (record.image_id, record.width, record.height) == (image_id, width, height):
                    return self._places.get(name)
        return None

    def next_open(self, place: int) -> int | None:
        """The first undecided place after this one, then from the start; None when all are decided or unreadable."""
        with self._lock:
            order = chain(range(place + 1, len(self)), range(place + 1))
            waiting = (candidate for candidate in order if self.names[candidate] not in self._records)
            return next((candidate for candidate in waiting if candidate not in self._unreadable), None)

    def set_aside(self, place: int) -> None:
        """Do not offer a photo any more that cannot be read; a new session tries it again."""
        with self._lock:
            self._unreadable.add(place)

    def progress(self) -> Progress:
        """How many are done, and how long one takes."""
        with self._lock:
            done = sum(name in self._records for name in self.names)
            seconds = [self._notes.seconds[name] for name in self.names if name in self._notes.seconds]
            return Progress(done, len(self), statistics.median(seconds) if seconds else None)

    def show(self, place: int) -> None:
        """Note that a photo is in sight. Its seconds run until it is decided or another one is shown."""
        name = self._name(place)
        with self._lock:
            if self._since is None or name != self._notes.current:
                self._stop_clock()
                self._since = self._clock()
            self._notes.current = name
            self._write_notes()

    def draft(self, place: int, boxes_xyxy: Boxes, tolerance: float = 0.0) -> bool:
        """Keep boxes that are drawn and not accepted yet.

        Args:
            place: of the photo.
            boxes_xyxy: (N, 4) corner boxes in pixels of the whole photo.
            tolerance: pixels by which a side may differ from what is known already without being new.

        Returns:
            whether they are new.
        """
        name = self._name(place)
        with self._lock:
            known = self.boxes(place)
            if known.shape == boxes_xyxy.shape and np.allclose(known, boxes_xyxy, rtol=0, atol=tolerance):
                return False
            self._notes.drafts[name] = label_of(boxes_xyxy)
            self._write_notes()
            return True

    def accept(self, place: int, boxes_xyxy: Boxes) -> None:
        """Decide that these boxes hold what was manipulated.

        Raises:
            AnnotationSessionError: there is no box inside the photo.
            ImageError: the photo cannot be read.
        """
        width, height = read_size(self.path(place))
        usable = [box for box in boxes_xyxy if box_geometry.defect(box, width, height) is None]
        if not usable:
            raise AnnotationSessionError("there is no box in this photo; draw one, or say that nothing was manipulated")
        self._decide(place, label_of(box_geometry.clip(as_boxes(usable), width, height)))

    def authentic(self, place: int) -> None:
        """Decide that nothing in the photo was manipulated.

        Raises:
            ImageError: the photo cannot be read.
        """
        self._decide(place, Label(authentic=True))

    def undo(self) -> int | None:
        """Take the last decision back and return its place; its boxes stay as a draft. None without a decision."""
        with self._lock:
            if not self._notes.steps:
                return None
            step = self._notes.steps[-1]
            place = self._places[step.file]
            undone = self.label(place)
            self._write_manifest(step.file, step.before)
            self._notes.steps.pop()
            if undone is not None and undone.boxes_xyxy:
                self._notes.drafts[step.file] = undone
            self._notes.seconds.pop(step.file, None)
            if step.seconds is not None:
                self._notes.seconds[step.file] = step.seconds
            self._write_notes()
            return place

    def _decide(self, place: int, label: Label) -> None:
        name = self._name(place)
        with self._lock:
            step = Step(name, self.label(place), self._notes.seconds.get(name))
            self._write_manifest(name, label)
            if name == self._notes.current:
                self._stop_clock()
            self._notes.seconds[name] = (step.seconds or 0.0) + self._notes.spent.pop(name, 0.0)
            self._notes.drafts.pop(name, None)
            self._notes.steps = [*self._notes.steps, step][-UNDOABLE:]
            self._write_notes()

    def _stop_clock(self) -> None:
        if self._since is not None:
            before = self._notes.spent.get(self._notes.current, 0.0)
            self._notes.spent[self._notes.current] = round(before + self._clock() - self._since, 2)
            self._since = None

    def _write_manifest(self, name: str, label: Label | None) -> None:
        """Write the manifest with another label of one photo. What is in memory changes only after that went well."""
        records = dict(self._records)
        if label is None:
            records.pop(name, None)
        else:
            records[name] = self._record(name, label)
        before = self.folder / BEFORE
        if not before.exists() and not self._notes.steps and (self.folder / MANIFEST).exists():
            write_whole(before, (self.folder / MANIFEST).read_bytes())
        write_manifest(self.folder / MANIFEST, records.values(), description=self.folder.name)
        self._records = records

    def _record(self, name: str, label: Label) -> ImageRecord:
        width, height = read_size(inside(self.folder, name))
        boxes_xyxy = as_boxes(label.boxes_xyxy)
        if (known := self._records.get(name)) is not None:
            return replace(known, width=width, height=height, boxes_xyxy=boxes_xyxy, authentic=label.authentic)
        new_id = max((record.image_id for record in self._records.values()), default=0) + 1
        split: Split = "val" if in_val(Path(name).stem, self._val_share, self._seed) else "train"
        source = self.folder.name
        path = self.folder / name
        return ImageRecord(new_id, path, width, height, boxes_xyxy, split, source, authentic=label.authentic)

    def _write_notes(self) -> None:
        write_whole(self.folder / NOTES, msgspec.json.format(msgspec.json.encode(self._notes), indent=1) + b"\n")

    def _name(self, place: int) -> str:
        if not 0 <= place < len(self.names):
            raise AnnotationSessionError(f"there is no photo {place}; the folder has {len(self.names)}")
        return self.names[place]


@contextmanager
def opened(folder: Path, val_share: float = 0.0, seed: int = 0) -> Iterator[AnnotationSession]:
    """A session that has its folder for itself.

    Raises:
        InputError: see `AnnotationSession`; or another program is at work in the folder.
    """
    if not folder.is_dir():
        raise AnnotationSessionError(f"{folder}: no such folder; name a folder of photos")
    with sole_use(folder):
        yield AnnotationSession(folder, val_share, seed)
