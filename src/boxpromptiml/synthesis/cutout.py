"""Cutting a piece out of a photo, transforming it, and placing it onto another photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from boxpromptiml.images import Mask, Photo, resize_mask, resize_photo

MARGIN = 4
"""Pixels of context kept around a cutout on every side, because gradient blending needs them."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """A piece of a photo with a margin of context.

    Attributes:
        photo: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, True on the piece itself; never empty, and `MARGIN` pixels away from all four sides.
    """

    photo: Photo
    mask: Mask


def cut_out(photo: Photo, region: Mask) -> Cutout:
    """Cut a region out of a photo; the photo is extended beyond its border by repeating the outermost pixels."""
    left, top, width, height = cv2.boundingRect(region.astype(np.uint8))
    rows = np.clip(np.arange(top - MARGIN, top + height + MARGIN), 0, photo.shape[0] - 1)
    columns = np.clip(np.arange(left - MARGIN, left + width + MARGIN), 0, photo.shape[1] - 1)
    return Cutout(photo[rows[:, None], columns], np.pad(region[top : top + height, left : left + width], MARGIN))


def transformed(cutout: Cutout, scale: float, degrees: float = 0.0, mirror: bool = False) -> Cutout:
    """Scale, rotate and optionally mirror a cutout; without any of these it is returned unchanged."""
    photo, mask = cutout.photo, cutout.mask
    if scale != 1:
        width, height = (max(1, round(side * scale)) for side in mask.shape[::-1])
        photo, mask = resize_photo(photo, width, height), resize_mask(mask, width, height)
    if mirror:
        photo, mask = np.ascontiguousarray(photo[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    if degrees:
        photo, mask = _turned(photo, mask, degrees)
    return cutout if mask is cutout.mask else cut_out(photo, mask)


def laid_on(host: Photo, cutout: Cutout, top: int, left: int) -> tuple[Photo, Mask]:
    """Place a cutout onto a host, with its upper left corner at a position that may lie outside.

    Returns:
        (H, W, 3) uint8, the host with the cutout's whole rectangle on it; (H, W) bool, True on the piece itself.
    """
    content, region = host.copy(), np.zeros(host.shape[:2], bool)
    height, width = cutout.mask.shape
    rows, from_rows = _overlap(top, height, host.shape[0])
    columns, from_columns = _overlap(left, width, host.shape[1])
    content[rows, columns] = cutout.photo[from_rows, from_columns]
    region[rows, columns] = cutout.mask[from_rows, from_columns]
    return content, region


def _turned(photo: Photo, mask: Mask, degrees: float) -> tuple[Photo, Mask]:
    height, width = mask.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    size = np.ceil(np.abs(matrix[:, :2]) @ [width, height]).astype(int)
    matrix[:, 2] += (size - [width, height]) / 2
    turned = cv2.warpAffine(photo, matrix, size.tolist(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = np.asarray(cv2.warpAffine(mask.astype(np.float32), matrix, size.tolist(), flags=cv2.INTER_LINEAR))
    return np.asarray(turned, np.uint8), share >= min(0.5, share.max())


def _overlap(start: int, length: int, room: int) -> tuple[slice, slice]:
    """Intersect a span of ``length`` starting at ``start`` with [0, room): as a slice of the room and of the span."""
    low = min(max(0, start), room)
    high = max(low, min(room, start + length))
    return slice(low, high), slice(low - start, high - start)
