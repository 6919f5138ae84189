"""Files of an annotated folder: ``manifest.json`` with the decisions, ``annotation.json`` with everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

import msgspec

from boxpromptiml.core.boxes import Boxes
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.images import scan_folder
from boxpromptiml.manifests.manifest import read_manifest, stays_inside

MANIFEST = "manifest.json"
NOTES = "annotation.json"
BEFORE = "manifest.before-annotation.json"
"""Copy of a manifest that existed before, because fields of other tools are lost when it is rewritten."""


class AnnotationSessionError(InputError):
    """A folder cannot be annotated, or a decision is not possible. The message is one line with the remedy."""


class Label(msgspec.Struct, frozen=True):
    """A decision: boxes (XYXY) in pixels of the upright photo, or none if nothing was manipulated."""

    boxes_xyxy: tuple[tuple[float, float, float, float], ...] = ()
    authentic: bool = False


class Step(msgspec.Struct, frozen=True):
    """A decision that can be undone, with the photo's previous label and annotation time."""

    file: str
    before: Label | None = None
    seconds: float | None = None


class Notes(msgspec.Struct):
    """Content of ``annotation.json``.

    Attributes:
        current: photo shown last.
        drafts: photo → boxes that are drawn but not accepted yet.
        seconds: photo → time until the decision.
        spent: photo → time spent so far, for undecided photos.
        steps: decisions that can be undone, the latest last.
        offered: photo → boxes proposed by a student when the photo was shown.
    """

    current: str = ""
    drafts: dict[str, Label] = {}
    seconds: dict[str, float] = {}
    spent: dict[str, float] = {}
    steps: list[Step] = []
    offered: dict[str, Label] = {}


class PhotoList(NamedTuple):
    """Names of a folder's photos, reasons why others cannot be annotated, and a summary of other files."""

    names: list[str]
    left_out: list[str]
    not_looked_at: str


def inside(folder: Path, name: str) -> Path:
    """Resolve a file name below a resolved folder, following links.

    Raises:
        AnnotationSessionError: it leads outside the folder.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise AnnotationSessionError(f"{name}: points outside {folder}; put the file itself there instead of a link")
    return path


def reason_against(folder: Path, name: str) -> str:
    """Return why a photo cannot be annotated, or an empty string."""
    shown = name.encode("utf-8", "backslashreplace").decode()
    if shown != name or not stays_inside(name):
        return f"{shown}: this name cannot be stored in a manifest; rename the file"
    try:
        inside(folder, name)
    except (AnnotationSessionError, OSError, RuntimeError) as error:
        return str(error)
    return ""


def list_photos(folder: Path, given: Path, masks: Container[Path | None]) -> PhotoList:
    """List the photos of a folder, without masks.

    Args:
        folder: the folder with links resolved.
        given: the folder as given by the user, for messages.
        masks: files to exclude.

    Raises:
        AnnotationSessionError: there is no photo.
    """
    content = scan_folder(folder)
    found = PhotoList([], [], content.remark().removeprefix(f"{folder}: "))
    files: set[Path] = set()
    for path in sorted(content.images, key=Path.is_symlink):  # a file before links to it
        if path not in masks:
            name = path.relative_to(folder).as_posix()
            reason = reason_against(folder, name)
            if not reason and (file := path.resolve()) in files:
                reason = f"{name}: a link to another photo of this folder"
            elif not reason:
                files.add(file)
            (found.left_out if reason else found.names).append(reason or name)
    if not found.names:
        seen = f" ({found.not_looked_at})" if found.not_looked_at else ""
        raise AnnotationSessionError(f"{given}: no photo found{seen}; choose a folder with photos")
    return found


def read_records(folder: Path) -> dict[str, ImageRecord]:
    """Read the manifest's images by name; empty if there is no manifest.

    Raises:
        InputError: it cannot be read, or would lose information when rewritten.
    """
    path = folder / MANIFEST
    if not path.is_symlink() and not path.exists():
        return {}
    manifest = read_manifest(inside(folder, MANIFEST))
    if manifest.set_aside:
        first = manifest.set_aside[0]
        raise AnnotationSessionError(
            f"{path}: {len(manifest.set_aside)} images cannot be used and would be lost, the first is {first.file}: "
            f"{first.reason}; or move the manifest away"
        )
    if manifest.root.resolve() != folder:
        raise AnnotationSessionError(f"{path}: its image_root is {manifest.root}; open that folder instead")
    records = {record.path.relative_to(manifest.root).as_posix(): record for record in manifest.records}
    if len(records) < len(manifest.records):
        names = Counter(record.path.relative_to(manifest.root).as_posix() for record in manifest.records)
        twice = names.most_common(1)[0][0]
        raise AnnotationSessionError(f"{path}: lists {twice} more than once; keep one entry, or move the manifest away")
    return records


def read_notes(folder: Path) -> Notes:
    """Read the notes of earlier sessions.

    Raises:
        AnnotationSessionError: they cannot be read.
    """
    path = folder / NOTES
    if not path.is_symlink() and not path.exists():
        return Notes()
    try:
        return msgspec.json.decode(inside(folder, NOTES).read_bytes(), type=Notes)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        reason = f"{path}: cannot be read ({error})"
        raise AnnotationSessionError(f"{reason}; move it away: {MANIFEST} has every decision as well") from None


def label_of(boxes_xyxy: Boxes, authentic: bool = False) -> Label:
    """Create the label for (N, 4) boxes (XYXY)."""
    rows = boxes_xyxy.astype(float).round(3).tolist()
    return Label(tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in rows), authentic)
