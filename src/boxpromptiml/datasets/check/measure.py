"""Measurement of one image and its mask, in a worker process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from boxpromptiml.core.boxes import rasterize
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.check.perceptual import Fingerprint, fingerprint
from boxpromptiml.images import ImageError, read_truth, read_upright
from boxpromptiml.runtime.provenance import file_sha256


@dataclass(frozen=True, slots=True)
class Facts:
    """Measurements of an image and its mask.

    Attributes:
        problem: code of the finding if a file does not match the manifest, else an empty string.
        detail: description of that problem.
        sha256: hash of the image file; empty if it could not be read.
        fingerprint: perceptual fingerprint of the image; None if it could not be read.
        box_share: fraction of the image covered by boxes.
        mask_share: fraction of the image covered by its mask; None without a valid mask.
        outside_share: fraction of the manipulated pixels outside all boxes; 0 without a valid mask.
        empty_boxes: number of boxes without manipulated pixels; 0 without a valid mask.
    """

    problem: str = ""
    detail: str = ""
    sha256: str = ""
    fingerprint: Fingerprint | None = None
    box_share: float = 0.0
    mask_share: float | None = None
    outside_share: float = 0.0
    empty_boxes: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of a manifest with its measurements."""

    manifest: Path
    record: ImageRecord
    facts: Facts


def measure(record: ImageRecord) -> Facts:
    """Decode and measure the image and the mask of a record."""
    if not record.path.exists():
        return Facts("missing_file", "no such file")
    try:
        upright = read_upright(record.path)
    except ImageError as error:
        return Facts("unreadable_file", _reason(error, record.path))
    facts = Facts(sha256=file_sha256(record.path), fingerprint=fingerprint(upright.photo()))
    try:
        mask = read_truth(record, upright)
    except ImageError as error:
        return replace(facts, problem=error.code, detail=_reason(error, record.path))
    width, height = upright.size
    inside = rasterize(record.boxes_xyxy, width, height)
    facts = replace(facts, box_share=float(inside.mean()))
    if mask is None:
        return facts
    outside = (mask & ~inside).sum() / max(1, mask.sum())
    empty = sum(not mask[rasterize(box[None], width, height)].any() for box in record.boxes_xyxy)
    return replace(facts, mask_share=float(mask.mean()), outside_share=float(outside), empty_boxes=empty)


def _reason(error: ImageError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
