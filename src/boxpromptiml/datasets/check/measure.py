"""Looks at one image and its mask, once, in a worker process."""

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
    """What an image and its mask are like.

    Attributes:
        problem: code of the finding when a file is not what the manifest says, else an empty string.
        detail: what was found then, in words.
        sha256: of the image file; empty when it could not be read.
        fingerprint: what the image looks like; None when it could not be read.
        box_share: share of the image inside any box.
        mask_share: share of the image that its mask marks as manipulated; None without a mask that fits.
        outside_share: share of the manipulated pixels outside every box; 0 without a mask that fits.
        empty_boxes: boxes without a manipulated pixel; 0 without a mask that fits.
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
    """An image of a manifest, and what was measured on it."""

    manifest: Path
    record: ImageRecord
    facts: Facts


def measure(record: ImageRecord) -> Facts:
    """Decode the image and the mask of a record, each once, and say what they are like."""
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
