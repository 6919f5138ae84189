"""Outputs of `predict` for each photo, and whether those of an earlier run are still valid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outputs:
    """What is written in addition to the lists.

    Attributes:
        masks: masks/NAME.png, 8 bit, 255 = certainly manipulated, at the photo's own size.
        overlays: overlays/NAME.jpg, the photo with the manipulated region tinted.
        regions: each photo's regions, as boxes and polygons, in predictions.jsonl.
        coco: coco.json with a run-length encoded mask for each photo in which something was found.
    """

    masks: bool = True
    overlays: bool = True
    regions: bool = True
    coco: bool = False


def pictures(name: str, outputs: Outputs) -> tuple[str | None, str | None]:
    """Return the relative paths of a photo's mask and overlay; None for what is not written."""
    return f"masks/{name}.png" if outputs.masks else None, f"overlays/{name}.jpg" if outputs.overlays else None


def state(file: Path) -> dict[str, int]:
    """Return size and modification time of a photo, by which a later run detects changes."""
    status = file.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def holds(entry: dict[str, Any] | None, file: Path, name: str, outputs: Outputs, out: Path) -> bool:
    """Return whether a log entry of an earlier run is still valid for this run."""
    if entry is None or "reason" in entry or not file.exists():
        return False
    written = pictures(name, outputs)
    same = (entry["mask"], entry["overlay"]) == written and state(file).items() <= entry.items()
    return same and all((out / path).exists() for path in written if path is not None)
