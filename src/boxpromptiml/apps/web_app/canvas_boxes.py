"""Boxes on the canvas of the tab *Annotate*, drawn with the mouse or moved by keys, in pixels of the whole photo."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.apps.web_app import markup
from boxpromptiml.apps.web_app.annotation_files import AnnotationSessionError
from boxpromptiml.apps.web_app.teacher_preview import HEIGHT, WIDTH, Opened
from boxpromptiml.core.boxes import Boxes, area, as_boxes, clip
from boxpromptiml.images import visualization

MAX_BOXES = 100
"""Maximum number of boxes per photo."""
STEP = 0.02
"""Step by which a key moves or resizes a box, as a fraction of the photo's longer side."""
ARROWS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
SIDES = ("xmin", "ymin", "xmax", "ymax")
PROPOSED_COLOUR = markup.BORDER
FRAME = 244
"""Grey level around photos on the canvas."""


def drawn_boxes(payload: Any, photo: Opened) -> Boxes:
    """Convert the canvas's boxes to (N, 4) boxes (XYXY) in pixels of the whole photo, without those of zero area.

    Args:
        payload: untrusted data from the browser.
        photo: the photo on the canvas.

    Raises:
        AnnotationSessionError: the data does not contain valid boxes.
    """
    try:
        found = payload["boxes"][: MAX_BOXES + 1]
        rows = [[float(box[side]) / float(box.get("scaleFactor") or 1) for side in SIDES] for box in found]
        if payload.get("orientation"):
            raise ValueError("rotated")
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, OverflowError):
        raise AnnotationSessionError("the boxes could not be read; reload the page") from None
    if len(rows) > MAX_BOXES:
        raise AnnotationSessionError(f"there are more than {MAX_BOXES} boxes; draw fewer, coarser ones")
    corners = (as_boxes(rows) - _corner(photo)) * factors(photo)
    corners = np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1
    )
    inside = clip(as_boxes(corners[np.isfinite(corners).all(1)]), photo.width, photo.height)
    return inside[area(inside) > 0]


def nudged(boxes_xyxy: Boxes, photo: Opened, key: str) -> Boxes:
    """Apply a key to the boxes, of which the first is the newest.

    ``b`` adds a box in the middle, ``shift-left`` etc. move the newest box, ``ctrl-left`` etc. move its right or lower
    side.
    """
    size = np.tile([photo.width, photo.height], 2)
    if key == "b":
        return np.concatenate([as_boxes([size * (0.3, 0.3, 0.7, 0.7)]), boxes_xyxy])
    how, arrow = key.split("-")
    step = np.array(ARROWS[arrow]) * STEP * max(photo.width, photo.height)
    moved = boxes_xyxy.copy()
    if how == "shift":
        room = np.concatenate([-moved[:1, :2], size[2:] - moved[:1, 2:]])  # keeps the box inside the photo
        moved[:1] += np.tile(np.clip(step, *room), 2) if len(moved) else 0
    else:
        moved[:1, 2:] = np.maximum(moved[:1, 2:] + step, moved[:1, :2] + 1)
    return clip(moved, photo.width, photo.height)


def on_canvas(photo: Opened, boxes_xyxy: Boxes, proposed: bool = False) -> dict[str, Any]:
    """Create the canvas's value for a photo with (N, 4) boxes in pixels of the whole photo.

    All photos are padded to the same size, because the canvas keeps its offset when the next image has a different
    width, and would then draw boxes in the wrong place. Proposed boxes have a different colour.
    """
    height, width = photo.shown.shape[:2]
    x, y, *_ = _corner(photo)
    framed = np.full((HEIGHT, WIDTH, 3), FRAME, np.uint8)
    framed[y : y + height, x : x + width] = photo.shown
    rows = (boxes_xyxy / factors(photo) + _corner(photo)).round(2).tolist()
    colour = PROPOSED_COLOUR if proposed else visualization.BOX_COLOUR
    drawn = [dict(zip(SIDES, row, strict=True)) | {"color": colour, "label": ""} for row in rows]
    return {"image": framed, "boxes": drawn}


def factors(photo: Opened) -> NDArray[np.float64]:
    """Return (4,) factors from canvas pixels to pixels of the whole photo."""
    return np.tile([photo.width / photo.shown.shape[1], photo.height / photo.shown.shape[0]], 2)


def _corner(photo: Opened) -> NDArray[np.int64]:
    """Return (4,) x, y, x, y of the photo's upper left corner on the canvas."""
    return np.tile([(WIDTH - photo.shown.shape[1]) // 2, (HEIGHT - photo.shown.shape[0]) // 2], 2)
