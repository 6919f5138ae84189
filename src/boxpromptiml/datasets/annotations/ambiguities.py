"""Checks for ambiguous annotations. The error names the option that resolves the ambiguity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.boxes import SLACK, Boxes
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.datasets.annotations.drawn import Drawings, DrawnImage
from boxpromptiml.manifests.coco import foreign_numbers
from boxpromptiml.manifests.labels import label_ambiguity, listed


def refuse_ambiguities(annotations: Path, drawings: Drawings, labels: list[str] | None, may_be_bare: bool) -> None:
    """Reject ambiguous annotations; the error names the option that resolves the ambiguity.

    Args:
        annotations: the file, for the message.
        drawings: its content.
        labels: labels that mean manipulated, or None if the user names none.
        may_be_bare: whether it is known what images without boxes are (from the user, or the manifest of ``--into``).

    Raises:
        InputError: a label in ``labels`` does not occur; boxes have several labels and none is named; boxes are not in
            pixels; or there are no boxes at all.
    """
    images = drawings.images
    there = Counter(label for image in images for box in image.boxes for label in box.labels)
    unknown = [label for label in labels or [] if label not in there]
    if unknown:
        found = ", ".join(sorted(there)) or "none"
        raise InputError(f"{annotations}: no box has the label {unknown[0]!r}; the labels are: {found}")
    if labels is None and (question := label_ambiguity(there)):
        raise InputError(f"{annotations}: {question}; select those that do with --labels '[…]'")
    refuse_foreign_numbers(annotations, images)
    stated = any(image.authentic for image in images) and not drawings.inferred
    if images and not any(image.boxes or image.defect for image in images) and not may_be_bare and not stated:
        raise InputError(
            f"{annotations}: none of its {len(images):,} images has a box; if none of them is forged, add "
            "--unboxed authentic; otherwise export them with their boxes"
        )


def refuse_foreign_numbers(annotations: Path, images: Sequence[DrawnImage]) -> None:
    """Reject boxes that together cannot be XYWH in pixels; see `foreign_numbers`.

    Raises:
        InputError: they cannot.
    """
    if strange := foreign_numbers(*_in_pixels(images)):
        raise InputError(
            f"{annotations}: {strange}; if they are shares, add --units shares; otherwise export them in pixels"
        )
    if (over := _corners_for_sides(images)) is not None:
        raise InputError(
            f"{annotations}: {over:,} of its boxes extend beyond their images, but all of them fit as x1 y1 x2 "
            "y2 in shares of the image; convert them to the order of the format"
        )


def _in_pixels(images: Sequence[DrawnImage]) -> tuple[Boxes, NDArray[np.float32]]:
    """Return the (N, 4) boxes given in pixels, and the (N, 2) sizes of their images, NaN if unknown."""
    pairs = [
        (box.corners, image.size or (np.nan, np.nan))
        for image in images
        for box in image.boxes
        if not image.shares and not isinstance(box.corners, str)
    ]
    corners, sizes = np.array([c for c, _ in pairs], float), np.array([size for _, size in pairs], np.float32)
    with np.errstate(over="ignore"):
        return corners.reshape(-1, 4).astype(np.float32), sizes.reshape(-1, 2)


def _corners_for_sides(images: Sequence[DrawnImage]) -> int | None:
    """Count relative boxes that exceed the image, if XYXY was probably written instead of position and size; else None.

    The rule is that of `foreign_numbers`; it works for a position at a corner and, as in YOLO, at the centre.
    """
    found = [box.corners for image in images if image.shares for box in image.boxes if not isinstance(box.corners, str)]
    boxes = np.array(found, float).reshape(-1, 4)
    over = (boxes < -SLACK).any(1) | (boxes > 1 + SLACK).any(1)
    sides = boxes[:, 2:] - boxes[:, :2]
    places = boxes[:, :2], boxes[:, :2] + sides / 2
    fit = any(bool(((sides > place) & (sides <= 1 + SLACK) & (place >= 0)).all()) for place in places)
    return int(over.sum()) if over.any() and over.mean() >= 0.5 and fit else None


def ignored_boxes(images: Sequence[DrawnImage], labels: list[str] | None) -> list[str]:
    """Return a note about boxes that are ignored because of their labels."""
    dropped = [box for image in images for box in image.boxes if labels and set(labels).isdisjoint(box.labels)]
    others = Counter(label for box in dropped for label in box.labels or ("without a label",))
    return [f"{len(dropped):,} boxes with other labels are ignored: {listed(others)}"] if dropped else []


def splits_without_boxes(drawings: Drawings, records: Sequence[ImageRecord]) -> list[str]:
    """Return a note for each split whose images all count as authentic only because they have no boxes."""
    counts = Counter(record.split for record in records if record.authentic) if drawings.inferred else Counter()
    bare = {split: n for split, n in counts.items() if n == sum(record.split == split for record in records)}
    return [f"{split}: none of its {n:,} images has a box; they count as authentic" for split, n in bare.items()]


def cut_off(cut: int, boxes: int) -> list[str]:
    """Return a note about clipped boxes if at least half of the boxes were clipped."""
    if not cut or 2 * cut < boxes:
        return []
    return [f"{cut:,} of {boxes:,} boxes extend beyond their images; check that they were drawn on these"]
