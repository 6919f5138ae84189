"""Pictures for people: overlays, heat maps and sheets of them. Nothing here decides a number."""

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
"""RGB of the manipulated region in overlays."""
BOX_COLOUR = (255, 214, 10)


def overlay(
    photo: Photo,
    probability: Probability,
    threshold: float = 0.5,
    opacity: float = 0.5,
    border: tuple[int, int, int] = TINT,
) -> Photo:
    """Photo with the region above the threshold tinted and outlined.

    Args:
        photo: (H, W, 3) uint8 RGB.
        probability: (H, W) in [0, 1].
        threshold: pixels above it are tinted.
        opacity: of the tint, in [0, 1].
        border: RGB of the outline.
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
    """Photo with the border of an (H, W) bool region drawn on it."""
    return _outline(photo.copy(), region, colour)


def heat(probability: Probability) -> Photo:
    """(H, W) probability in [0, 1] as an RGB heat map that keeps its order when printed grey."""
    coloured = cv2.applyColorMap(to_uint8(probability), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB))


def grey(probability: Probability) -> Photo:
    """(H, W) probability or mask as grey RGB, white = 1."""
    return np.repeat(to_uint8(np.asarray(probability, np.float32))[..., None], 3, axis=2)


def with_boxes(photo: Photo, boxes_xyxy: Boxes) -> Photo:
    """Photo with the (N, 4) corner boxes drawn on it."""
    picture = photo.copy()
    for x1, y1, x2, y2 in np.rint(boxes_xyxy).astype(int).tolist():
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), BOX_COLOUR, _line_width(photo))
    return picture


def sheet(rows: Sequence[Sequence[Photo]], columns: Sequence[str], captions: Sequence[str], path: Path) -> None:
    """Save a table of pictures as PNG.

    Args:
        rows: pictures, each row with one for each column.
        columns: titles above the columns.
        captions: one line beside each row.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure  # seconds to import, and most commands draw nothing

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
    """What `overlay` puts on a photo, alone: a PNG that is clear outside the (H, W) bool region."""
    levels = region.astype(np.uint8)
    outlines, _ = cv2.findContours(levels, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(levels, outlines, -1, 2, _line_width(levels))
    layer = Image.fromarray(levels, "P")
    layer.putpalette(bytes([0, 0, 0, *TINT, *border]))
    stream = io.BytesIO()
    layer.save(stream, "PNG", transparency=bytes([0, round(255 * opacity), 255]), compress_level=1)
    return stream.getvalue()


def data_uri(photo: Photo, quality: int = 80) -> str:
    """Photo as the text of a JPEG, to stand in a page that needs no other file."""
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def thumbnail(photo: Photo, side: int) -> Photo:
    """Photo shrunk so that its longer side is at most ``side`` pixels."""
    height, width = photo.shape[:2]
    factor = min(1.0, side / max(height, width))
    return resize_photo(photo, max(1, round(width * factor)), max(1, round(height * factor)))


def _outline(picture: Photo, region: Mask, colour: tuple[int, int, int]) -> Photo:
    outlines, _ = cv2.findContours(region.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, colour, _line_width(picture))
    return picture


def _line_width(photo: Photo | NDArray[np.uint8]) -> int:
    return max(1, round(max(photo.shape[:2]) / 256))
