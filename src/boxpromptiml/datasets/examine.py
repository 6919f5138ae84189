"""Examination of a data set's files: decoding, sizes, conversion of masks, derivation of boxes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from boxpromptiml.core.boxes import Boxes, as_boxes
from boxpromptiml.core.boxes_from_mask import Drawing
from boxpromptiml.core.records import ImageRecord, InputError, Split
from boxpromptiml.datasets.layout import Expected, Found, ListedImage, Unpaired
from boxpromptiml.images import (
    ImageError,
    MaskForm,
    beside,
    doubt,
    mask_png,
    named,
    read_pair,
    read_photo,
    write_mask,
)
from boxpromptiml.manifests.manifest import refuse_name
from boxpromptiml.runtime.processes import ParallelMap
from boxpromptiml.runtime.provenance import is_written

Mismatched = Literal["skip", "resize"]
HALF = 0.5
"""Fraction of an image that few manipulations exceed; a larger mask may be inverted."""
IMAGES_PER_PROCESS = 64
"""Number of images whose decoding takes about as long as starting a process."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """Settings for examining a data set.

    Attributes:
        root: resolved folder that all files must lie in after following symbolic links.
        form: how masks mark manipulated pixels.
        mismatched: whether masks with the image's aspect ratio but a different size are skipped or resized.
        converted: folder for masks converted to white on black at the image's size.
        drawing: parameters of the boxes.
        overwrite: replace existing converted masks that differ.
    """

    root: Path
    form: MaskForm
    mismatched: Mismatched
    converted: Path
    drawing: Drawing
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Usable:
    """A decoded image with everything that a manifest needs except the split.

    Attributes:
        changed: how its mask was resized or rotated, or None.
        doubtful: what is suspicious about its mask, or None.
        share: fraction of the image covered by its mask.
    """

    entry: ListedImage
    width: int
    height: int
    boxes_xyxy: Boxes
    mask_path: Path | None
    changed: str | None = None
    doubtful: str | None = None
    share: float = 0.0

    def record(self, image_id: int, split: Split, source: str) -> ImageRecord:
        """Convert to a manifest record."""
        return ImageRecord(
            image_id=image_id,
            path=self.entry.image,
            width=self.width,
            height=self.height,
            boxes_xyxy=self.boxes_xyxy,
            split=split,
            source=source,
            mask_path=self.mask_path,
            authentic=self.entry.mask is None,
            kind=self.entry.kind,
        )


@dataclass(frozen=True, slots=True)
class ExaminedSet:
    """A data set whose files have been decoded.

    Attributes:
        listed: number of images of the data set.
        usable: usable images by id. Ids count all images, so that an unusable file does not change the ids of others.
        set_aside: one message per unusable file.
        changed: one message per resized or rotated mask.
        doubtful: one message per nearly empty or nearly full mask.
        others: summary of files in the same folders that were ignored.
    """

    listed: int
    usable: dict[int, Usable] = field(default_factory=dict)
    set_aside: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    others: str = ""

    def count(self, authentic: bool) -> int:
        """Count the usable images that are authentic, or those that are manipulated."""
        return sum((image.entry.mask is None) == authentic for image in self.usable.values())

    def is_complete(self, expected: Expected) -> bool:
        """Return whether at least the expected number of images is usable."""
        enough = self.count(authentic=False) >= (expected.manipulated or 0)
        return enough and self.count(authentic=True) >= (expected.authentic or 0)

    def counts(self, expected: Expected) -> str:
        """Summarize the numbers of usable and expected images."""
        numbers = [
            (self.count(authentic=False), expected.manipulated),
            (self.count(authentic=True), expected.authentic),
        ]
        manipulated, authentic = (f"{n:,}" + ("" if of is None else f" of {of:,}") for n, of in numbers)
        return (
            f"{manipulated} manipulated images, {authentic} authentic; {self.listed:,} images listed, "
            f"{len(self.set_aside)} files skipped"
        )

    def report(self) -> None:
        """Print a line for each file that was skipped, changed or is doubtful, and the ignored files."""
        for word, lines in (("skipped", self.set_aside), ("changed", self.changed), ("please check", self.doubtful)):
            for line in lines:
                print(f"{word}: {line}")
        if remark := self._inverted():
            print(f"please check: {remark}")
        if self.others:
            print(f"ignored files beside the set's: {self.others}")

    def _inverted(self) -> str:
        """Return a warning if most masks cover more than half of their image; a single one may be right."""
        shares = [image.share for image in self.usable.values() if image.entry.mask is not None]
        large = sum(share > HALF for share in shares)
        if 2 * large <= len(shares):
            return ""
        return (
            f"{large:,} of {len(shares):,} masks mark more than half of their images; invert them if black means "
            "manipulated in this set"
        )


def examine(found: Found, treatment: Treatment, parallel_map: ParallelMap, first_id: int = 1) -> ExaminedSet:
    """Decode all files of a data set in parallel, write converted masks, and derive the boxes.

    Raises:
        ImageError: a converted mask cannot be written.
        OtherResultsError: a different converted mask exists and is not to be replaced.
    """
    entries = [entry for entry in found.images if isinstance(entry, ListedImage)]
    results = iter(parallel_map(partial(_look, treatment), entries, "images"))
    examined = ExaminedSet(len(found.images), set_aside=[stray.reason for stray in found.strays], others=_others(found))
    for image_id, entry in enumerate(found.images, start=first_id):
        result = entry.reason if isinstance(entry, Unpaired) else next(results)
        if isinstance(result, str):
            examined.set_aside.append(result)
            continue
        examined.usable[image_id] = result
        if result.changed:
            examined.changed.append(result.changed)
        if result.doubtful:
            examined.doubtful.append(result.doubtful)
    next(results, None)  # completes the progress bar
    return examined


def workers_for(count: int) -> int:
    """Return the number of processes worth starting for this number of images."""
    return max(1, min(8, os.cpu_count() or 1, count // IMAGES_PER_PROCESS))


def common_folder(records: Iterable[ImageRecord]) -> Path:
    """Return the common parent folder of all images and masks, with symbolic links resolved."""
    files = (file for record in records for file in (record.path, record.mask_path) if file is not None)
    return Path(os.path.commonpath({file.resolve().parent for file in files}))


def _others(found: Found) -> str:
    """Summarize files in the folders of images and masks that are neither."""
    files = [
        file for entry in found.images if isinstance(entry, ListedImage) for file in (entry.image, entry.mask) if file
    ]
    files += [entry.path for entry in (*found.images, *found.strays) if isinstance(entry, Unpaired)]
    return named(beside(files))


def _look(treatment: Treatment, entry: ListedImage) -> Usable | str:
    """Examine one image; a string is the reason why it is unusable."""
    try:
        for file in (entry.image, entry.mask):
            if file is not None and not file.resolve().is_relative_to(treatment.root):
                raise ImageError(f"{file}: points outside {treatment.root}; put a copy there")
            for part in [] if file is None else file.resolve().relative_to(treatment.root).parts:
                refuse_name(part)  # every part, because a manifest may be relative to any parent folder
        if entry.mask is None:
            height, width = read_photo(entry.image).shape[:2]
            return Usable(entry, width, height, as_boxes([]), None)
        photo, truth = read_pair(entry.image, entry.mask, treatment.form, treatment.mismatched == "resize")
    except InputError as error:
        return str(error)
    path = entry.mask
    if treatment.form != "white" or truth.changed:
        path = _converted_path(treatment, entry.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not is_written(path, mask_png(truth.mask), treatment.overwrite):
            write_mask(path, truth.mask)
    height, width = photo.shape[:2]
    return Usable(
        entry,
        width,
        height,
        treatment.drawing.boxes(truth.mask, entry.image),
        path,
        f"{entry.mask}: {truth.changed}" if truth.changed else None,
        f"{entry.mask}: {reason}" if (reason := doubt(truth.mask)) else None,
        float(truth.mask.mean()),
    )


def _converted_path(treatment: Treatment, image: Path) -> Path:
    """Return the path of the converted mask: a PNG with the image's name in the corresponding subfolder."""
    name = treatment.converted / image.relative_to(treatment.root)
    # beside photo.jpg, the mask of photo.jpg.png needs another name than photo.jpg's
    same = name.suffix.lower() == ".png" and not image.with_suffix("").exists()
    return name if same else name.with_name(f"{name.name}.png")
