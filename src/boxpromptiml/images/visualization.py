"""Visualizations: overlays, heat maps and contact sheets. No score depends on them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxpromptiml.core.atomic_files import atomic_path
from boxpromptiml.core.boxes import Boxes
from boxpromptiml.images import Mask, Photo, Probability, resize_photo, to_uint8

TINT = (255, 64, 64)
"""RGB colour of manipulated regions in overlays."""
BOX_COLOUR = (255, 214, 10)


def overlay(
    photo: Photo,
    probability: Probability,
    threshold: float = 0.5,
    opacity: float = 0.5,
    border: tuple[int, int, int] = TINT,
) -> Photo:
    """Tint and outline the region above the threshold.

    Args:
        photo: (H, W, 3) uint8 RGB.
        probability: (H, W) in [0, 1].
        threshold: pixels above it are tinted.
        opacity: opacity of the tint, in [0, 1].
        border: RGB colour of the outline.
    """
    region = probability > threshold
    picture = photo.copy()
    left, top, width, height = cv2.boundingRect(region.view(np.uint8))
    if width > 0:
        part = np.s_[top : top + height, left : left + width]
        levels = (1 - opacity) * np.arange(256)[:, None] + opacity * np.array(TINT)
        tinted = cv2.LUT(np.ascontiguousarray(photo[part]), levels.astype(np.uint8)[None])
        picture[part] = np.where(region[part][..., None], tinted, photo[part])
    return _outline(picture, region, border)


def outlined(photo: Photo, region: Mask, colour: tuple[int, int, int] = BOX_COLOUR) -> Photo:
    """Draw the border of an (H, W) bool region on a copy of the photo."""
    return _outline(photo.copy(), region, colour)


def heat(probability: Probability) -> Photo:
    """Colour an (H, W) probability map in [0, 1]; the colours stay ordered when printed in grey."""
    coloured = cv2.applyColorMap(to_uint8(probability), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB))


def grey(probability: Probability) -> Photo:
    """Convert an (H, W) probability map or mask to grey RGB, white = 1."""
    return np.repeat(to_uint8(np.asarray(probability, np.float32))[..., None], 3, axis=2)


def with_boxes(photo: Photo, boxes_xyxy: Boxes) -> Photo:
    """Draw (N, 4) boxes on a copy of the photo."""
    picture = photo.copy()
    for x1, y1, x2, y2 in np.rint(boxes_xyxy).astype(int).tolist():
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), BOX_COLOUR, _line_width(photo))
    return picture


def sheet(rows: Sequence[Sequence[Photo]], columns: Sequence[str], captions: Sequence[str], path: Path) -> None:
    """Save a table of images as PNG.

    Args:
        rows: one image per column in each row.
        columns: column titles.
        captions: row labels.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure  # a slow import that most commands do not need

    figure = Figure(figsize=(1.9 * len(columns) + 1.4, 1.9 * len(rows) + 0.4), layout="constrained", dpi=100)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for row, (pictures, caption) in enumerate(zip(rows, captions, strict=True)):
        for column, picture in enumerate(pictures):
            axis = axes[row][column]
            axis.imshow(thumbnail(picture, 256))
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(columns[column], fontsize=9)
        axes[row][0].set_ylabel(caption, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, format=path.suffix[1:])


def overlay_layer(region: Mask, opacity: float = 0.5, border: tuple[int, int, int] = TINT) -> bytes:
    """Return the tint and outline of `overlay` as a PNG layer that is transparent outside the (H, W) bool region."""
    levels = region.astype(np.uint8)
    outlines, _ = cv2.findContours(levels, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(levels, outlines, -1, 2, _line_width(levels))
    layer = Image.fromarray(levels, "P")
    layer.putpalette(bytes([0, 0, 0, *TINT, *border]))
    stream = io.BytesIO()
    layer.save(stream, "PNG", transparency=bytes([0, round(255 * opacity), 255]), compress_level=1)
    return stream.getvalue()


def data_uri(photo: Photo, quality: int = 80) -> str:
    """Encode a photo as a JPEG data URI, for HTML pages without other files."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def thumbnail(photo: Photo, side: int) -> Photo:
    """Shrink a photo so that its longer side is at most ``side`` pixels."""
    height, width = photo.shape[:2]
    factor = min(1.0, side / max(height, width))
    return resize_photo(photo, max(1, round(width * factor)), max(1, round(height * factor)))


def _outline(picture: Photo, region: Mask, colour: tuple[int, int, int]) -> Photo:
    outlines, _ = cv2.findContours(region.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, colour, _line_width(picture))
    return picture


def _line_width(photo: Photo | NDArray[np.uint8]) -> int:
    return max(1, round(max(photo.shape[:2]) / 256))
