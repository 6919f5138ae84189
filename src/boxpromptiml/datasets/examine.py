"""Every file of a set decoded once: sizes, white masks at the image's size, coarse boxes, and what cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from boxpromptiml.boxes import Boxes, as_boxes
from boxpromptiml.datasets.drawing import Drawing
from boxpromptiml.datasets.layout import Entry, Expected, Found, MaskForm, Unpaired
from boxpromptiml.images import ImageError, Mask, read_mask, read_photo, resize_mask, write_mask
from boxpromptiml.processes import Spread
from boxpromptiml.records import ImageRecord, Split

Mismatched = Literal["skip", "resize"]
SAME_SHAPE = 0.02
"""Largest relative difference of two aspect ratios that rounding and cropping explain. A mask that differs more is
turned or belongs to another image, and is never resized."""
IMAGES_PER_PROCESS = 64
"""A process takes about as long to start as it takes to decode this many."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done with a set's files.

    Attributes:
        root: resolved folder that all files must lie in, wherever symbolic links lead.
        form: how masks mark manipulated pixels.
        mismatched: masks of nearly the image's shape but another size are skipped or resized.
        converted: folder for white masks at the image's size, where the set's own are otherwise.
        drawing: of the boxes.
    """

    root: Path
    form: MaskForm
    mismatched: Mismatched
    converted: Path
    drawing: Drawing


@dataclass(frozen=True, slots=True)
class Usable:
    """An image that was decoded, with all that a manifest says of it but its split."""

    entry: Entry
    width: int
    height: int
    boxes_xyxy: Boxes
    mask_path: Path | None
    resized: str | None = None

    def record(self, image_id: int, split: Split, source: str) -> ImageRecord:
        """The image as a manifest's record."""
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
class Examined:
    """A set after its files were decoded.

    Attributes:
        listed: number of images of the set.
        usable: by id. Ids count every image of the set, so a bad file changes no other's.
        set_aside: a line for each file that cannot be used.
        resized: a line for each mask that was resized.
    """

    listed: int
    usable: dict[int, Usable] = field(default_factory=dict)
    set_aside: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)

    def count(self, authentic: bool) -> int:
        """Number of usable images that are authentic, or that are not."""
        return sum((image.entry.mask is None) == authentic for image in self.usable.values())

    def is_complete(self, expected: Expected) -> bool:
        """Whether at least the expected images can be used."""
        enough = self.count(authentic=False) >= (expected.manipulated or 0)
        return enough and self.count(authentic=True) >= (expected.authentic or 0)

    def counts(self, expected: Expected) -> str:
        """What can be used, in words, against what was expected."""
        numbers = [
            (self.count(authentic=False), expected.manipulated),
            (self.count(authentic=True), expected.authentic),
        ]
        manipulated, authentic = (f"{n:,}" + ("" if of is None else f" of {of:,}") for n, of in numbers)
        return (
            f"{manipulated} manipulated images, {authentic} authentic; {self.listed:,} images listed, "
            f"{len(self.set_aside)} files set aside"
        )

    def report(self) -> None:
        """Print a line for each file that was set aside or resized."""
        for line in self.set_aside:
            print(f"set aside: {line}")
        for line in self.resized:
            print(f"resized: {line}")


def examine(found: Found, treatment: Treatment, spread: Spread, first_id: int = 1) -> Examined:
    """Decode every file of a set in many processes, write the masks that need it, and draw the boxes.

    Raises:
        ImageError: a converted mask cannot be written.
    """
    entries = [entry for entry in found.images if isinstance(entry, Entry)]
    answers = iter(spread(partial(_look, treatment), entries, "images"))
    examined = Examined(len(found.images), set_aside=[stray.reason for stray in found.strays])
    for image_id, entry in enumerate(found.images, start=first_id):
        answer = entry.reason if isinstance(entry, Unpaired) else next(answers)
        if isinstance(answer, str):
            examined.set_aside.append(answer)
            continue
        examined.usable[image_id] = answer
        if answer.resized:
            examined.resized.append(answer.resized)
    next(answers, None)  # lets the progress bar end
    return examined


def workers_for(count: int) -> int:
    """Number of processes worth starting for so many images."""
    return max(1, min(8, os.cpu_count() or 1, count // IMAGES_PER_PROCESS))


def common_folder(records: Iterable[ImageRecord]) -> Path:
    """The folder that all images and masks of records lie below, symbolic links followed."""
    files = (file for record in records for file in (record.path, record.mask_path) if file is not None)
    return Path(os.path.commonpath({file.resolve().parent for file in files}))


def _look(treatment: Treatment, entry: Entry) -> Usable | str:
    """Examine one image; a text is the reason why it cannot be used."""
    try:
        for file in (entry.image, entry.mask):
            if file is not None and not file.resolve().is_relative_to(treatment.root):
                raise ImageError(f"{file}: leads out of {treatment.root}; put a copy there")
        height, width = read_photo(entry.image).shape[:2]
        if entry.mask is None:
            return Usable(entry, width, height, as_boxes([]), None)
        given = _read(entry.mask, treatment.form)
        mask = _fit(entry.mask, given, width, height, treatment.mismatched)
        if not mask.any():
            raise ImageError(
                f"{entry.mask}: the mask is empty; move {entry.image.name} to the authentic images if it is one"
            )
    except ImageError as error:
        return str(error)
    path = entry.mask
    if treatment.form != "white" or mask is not given:
        path = _converted_path(treatment, entry.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, mask)
    sizes = f"from {given.shape[1]}×{given.shape[0]} to {width}×{height}, its image's size"
    return Usable(
        entry,
        width,
        height,
        treatment.drawing.boxes(mask, entry.image),
        path,
        None if mask is given else f"{entry.mask}: {sizes}",
    )


def _read(path: Path, form: MaskForm) -> Mask:
    """Any form of mask as (H, W) bool, True = manipulated."""
    if form == "white":
        return read_mask(path)
    if form == "black":
        return ~read_mask(path)
    colours = read_photo(path).astype(np.int16)
    if form == "green":
        return np.asarray(colours[..., 1] - colours[..., 0] > 8)  # less is JPEG noise in an area without colour
    return np.asarray(colours.max(2) > 8)


def _fit(path: Path, mask: Mask, width: int, height: int, mismatched: Mismatched) -> Mask:
    """The mask at the image's size.

    Raises:
        ImageError: the sizes differ, and the mask is not to be resized or has another shape.
    """
    mask_height, mask_width = mask.shape
    if (mask_width, mask_height) == (width, height):
        return mask
    sizes = f"{path}: the mask is {mask_width}×{mask_height} and its image {width}×{height}"
    if abs(mask_width * height / (mask_height * width) - 1) > SAME_SHAPE:
        raise ImageError(f"{sizes}, another shape; find the right mask")
    if mismatched == "skip":
        raise ImageError(f"{sizes}; take a corrected mask, or ask for --mismatched resize")
    return resize_mask(mask, width, height)


def _converted_path(treatment: Treatment, image: Path) -> Path:
    """A PNG of the image's own name, in the same subfolder as the image."""
    name = treatment.converted / image.relative_to(treatment.root)
    return name if name.suffix.lower() == ".png" else name.with_name(f"{name.name}.png")
