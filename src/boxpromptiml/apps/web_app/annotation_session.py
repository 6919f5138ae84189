"""Annotation of a folder's photos with coarse boxes, or as authentic.

Every decision is saved in ``manifest.json`` before the next photo is shown. ``annotation.json`` stores everything else:
the current photo, boxes that are not accepted yet, annotation times, and steps that can be undone. Both files are
written atomically, the manifest first, so that no crash loses a decision. Photos are identified by their index, never
by a path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
    list_photos,
    read_notes,
    read_records,
)
from boxpromptiml.apps.web_app.annotation_time import LOOK_SECONDS, Outcome, Progress, SightClock, median
from boxpromptiml.core import boxes as box_geometry
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.boxes import Boxes, as_boxes
from boxpromptiml.core.records import ImageRecord, Split
from boxpromptiml.datasets.splits import in_val
from boxpromptiml.images import read_size
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.runtime.locks import exclusive_lock

UNDOABLE = 200
"""Maximum number of steps that can be undone."""


class AnnotationSession:
    """The photos of a folder and their annotations. Thread-safe.

    Args:
        folder: folder of photos, with or without a manifest.
        val_share: fraction of newly annotated photos assigned to val, by name; the others are assigned to train.
        seed: random seed for that assignment.
        clock: monotonic time in seconds.

    Attributes:
        folder: the folder with links resolved.
        given: the folder as given by the user.
        names: paths of the photos, relative to the folder; a photo's index in this list is its ``place``.
        left_out: why some photos cannot be annotated.
        not_looked_at: summary of other files in the folder; empty if there are none.

    Raises:
        InputError: there is no photo, or one of the two files cannot be used.
    """

    def __init__(
        self, folder: Path, val_share: float = 0.0, seed: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        in_val("", val_share, seed)  # fail early on an invalid fraction
        self.folder, self.given = folder.resolve(), folder
        self._val_share, self._seed = val_share, seed
        self._records = read_records(self.folder)
        masks = {record.mask_path for record in self._records.values()}
        self.names, self.left_out, self.not_looked_at = list_photos(self.folder, folder, masks)
        self._places = {name: place for place, name in enumerate(self.names)}
        self._notes = read_notes(self.folder)
        self._notes.steps = [step for step in self._notes.steps if step.file in self._places]
        self._sight = SightClock(self._notes, clock)
        self._unreadable: set[str] = set()
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self.names)

    def arrange(self, first: Sequence[str]) -> None:
        """Reorder the photos: these names first, then the others in their current order. Indices change."""
        with self._lock:
            self.names = list(dict.fromkeys([*first, *self.names]))
            self._places = {name: place for place, name in enumerate(self.names)}

    @property
    def current(self) -> int:
        """Index of the photo shown last; initially of the first undecided one."""
        with self._lock:
            return self._places.get(self._notes.current, self.next_open(-1) or 0)

    def path(self, place: int) -> Path:
        """Return the photo's file, with links resolved.

        Raises:
            AnnotationSessionError: the index is invalid, or the file is now a link that leads outside the folder.
        """
        return inside(self.folder, self._name(place))

    def label(self, place: int) -> Label | None:
        """Return the decision about a photo, or None."""
        with self._lock:
            record = self._records.get(self._name(place))
            return None if record is None else label_of(record.boxes_xyxy, record.authentic)

    def boxes(self, place: int) -> Boxes:
        """Return the boxes to show: drawn but not accepted ones, else accepted ones, else proposed ones."""
        name = self._name(place)
        with self._lock:
            shown = self._notes.drafts.get(name) or self.label(place) or self._notes.offered.get(name) or Label()
            return as_boxes(shown.boxes_xyxy)

    def offered(self, place: int) -> Boxes | None:
        """Return the boxes that a student proposed when the photo was shown; None if it was shown without a student."""
        with self._lock:
            label = self._notes.offered.get(self._name(place))
        return None if label is None else as_boxes(label.boxes_xyxy)

    def is_proposal(self, place: int) -> bool:
        """Return whether `boxes` are a student's proposal that the annotator has neither changed nor accepted."""
        name = self._name(place)
        with self._lock:
            return name in self._notes.offered and name not in self._notes.drafts and name not in self._records

    def place_of(self, image_id: int, width: int, height: int) -> int | None:
        """Return the index of the photo with this image id in the manifest, if its size also matches."""
        with self._lock:
            facts = {(each.image_id, each.width, each.height): name for name, each in self._records.items()}
            return self._places.get(facts.get((image_id, width, height), ""))

    def next_open(self, place: int) -> int | None:
        """Return the next undecided index, wrapping around; None if all photos are decided or unreadable."""
        with self._lock:
            order = chain(range(place + 1, len(self)), range(place + 1))
            closed = self._records.keys() | self._unreadable
            return next((each for each in order if self.names[each] not in closed), None)

    def set_aside(self, place: int) -> None:
        """Skip an unreadable photo for the rest of the session."""
        self._unreadable.add(self._name(place))

    def progress(self) -> Progress:
        """Return the number of annotated photos and the median time."""
        with self._lock:
            done = sum(name in self._records for name in self.names)
            seconds = [each for name, each in self._notes.seconds.items() if name in self._places]
            return Progress(done, len(self), median(seconds))

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes of all photos decided in the app."""
        with self._lock:
            return [
                Outcome(seconds, self._notes.offered.get(name), label_of(record.boxes_xyxy, record.authentic))
                for name, seconds in self._notes.seconds.items()
                if (record := self._records.get(name)) is not None
            ]

    def show(self, place: int, proposed: Boxes | None = None) -> None:
        """Record that a photo is shown. Its time runs until it is decided or another one is shown.

        Args:
            place: index of the photo.
            proposed: (N, 4) boxes (XYXY) of a student, which are used if the photo has no boxes or decision yet.
        """
        name = self._name(place)
        with self._lock:
            known = self._notes.drafts.keys() | self._records.keys() | self._notes.offered.keys()
            if proposed is not None and name not in known:
                self._notes.offered[name] = label_of(proposed)
            self._sight.show(name)
            self._write_notes()

    def draft(self, place: int, boxes_xyxy: Boxes, tolerance: float = 0.0) -> bool:
        """Store boxes that are drawn but not accepted yet.

        Args:
            place: index of the photo.
            boxes_xyxy: (N, 4) boxes in pixels of the whole photo.
            tolerance: largest difference in pixels to the known boxes that does not count as a change.

        Returns:
            Whether the boxes have changed.
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
        """Decide that these boxes contain the manipulations.

        Raises:
            AnnotationSessionError: no box lies inside the photo, or the boxes are a proposal that was shown too
                briefly.
            ImageError: the photo cannot be read.
        """
        name = self._name(place)
        width, height = read_size(self.path(place))
        usable = [box for box in boxes_xyxy if box_geometry.defect(box, width, height) is None]
        if not usable:
            raise AnnotationSessionError("there is no box in this photo; draw one, or mark it as not manipulated")
        label = label_of(box_geometry.clip(as_boxes(usable), width, height))
        with self._lock:
            if label == self._notes.offered.get(name) and self._sight.seconds(name) < LOOK_SECONDS:
                raise AnnotationSessionError("these boxes were proposed a moment ago; check them first")
            self._decide(place, label)

    def authentic(self, place: int) -> None:
        """Decide that nothing in the photo was manipulated.

        Raises:
            ImageError: the photo cannot be read.
        """
        self._decide(place, Label(authentic=True))

    def undo(self) -> int | None:
        """Undo the last decision and return its index; its boxes become a draft. None if there is none."""
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
                self._sight.stop()
            self._notes.seconds[name] = (step.seconds or 0.0) + self._notes.spent.pop(name, 0.0)
            self._notes.drafts.pop(name, None)
            self._notes.steps = [*self._notes.steps, step][-UNDOABLE:]
            self._write_notes()

    def _write_manifest(self, name: str, label: Label | None) -> None:
        """Write the manifest with a new label for one photo; the state in memory changes only if that succeeds."""
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
        facts = (new_id, self.folder / name, width, height, boxes_xyxy, split, self.folder.name)
        return ImageRecord(*facts, authentic=label.authentic)

    def _write_notes(self) -> None:
        write_whole(self.folder / NOTES, msgspec.json.format(msgspec.json.encode(self._notes), indent=1) + b"\n")

    def _name(self, place: int) -> str:
        if not 0 <= place < len(self.names):
            raise AnnotationSessionError(f"there is no photo {place}; the folder has {len(self.names)}")
        return self.names[place]


@contextmanager
def opened(folder: Path, val_share: float = 0.0, seed: int = 0) -> Iterator[AnnotationSession]:
    """Open a session with a lock on its folder.

    Raises:
        InputError: see `AnnotationSession`; or the folder is in use by another program.
    """
    if not folder.is_dir():
        raise AnnotationSessionError(f"{folder}: no such folder; choose a folder with photos")
    with exclusive_lock(folder):
        yield AnnotationSession(folder, val_share, seed)
