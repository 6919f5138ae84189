"""The teacher on one photo: what its pseudo-mask would be for the boxes that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from boxpromptiml.core.boxes import Boxes, scale
from boxpromptiml.images import Photo, Probability, read_photo, resize_photo, resize_probability
from stage1_pseudomask.selection import select
from stage1_pseudomask.teachers import Teacher

WIDTH, HEIGHT = 720, 430
"""Pixels that a photo may have on the page: what fits a laptop's screen beside its pseudo-mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A photo that is being annotated.

    Attributes:
        shown: (h, w, 3) at the size at which boxes are drawn.
        width: of the whole photo in pixels.
        height: of the whole photo in pixels.
        prepared: as the teacher wants it.
        embedding: what the teacher knows of it, computed when first asked for.
    """

    shown: Photo
    width: int
    height: int
    prepared: Photo
    embedding: Callable[[], Any]


class Previewer:
    """A teacher that is asked about one photo at a time. Photos that were opened last are kept.

    Args:
        teacher: who makes the masks; it is loaded here.
        margin: how far a mask may reach over each side of its box, as `boxpromptiml pseudomasks` has it.
    """

    def __init__(self, teacher: Teacher, margin: float = 0.05) -> None:
        self.teacher = teacher
        self.margin = margin
        teacher.load(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self._opened = lru_cache(maxsize=2)(self._open)
        self._lock = Lock()

    def open(self, path: Path) -> Opened:
        """Read a photo, or get it from memory if its file has not changed.

        Raises:
            ImageError: it cannot be read.
        """
        with self._lock:
            return self._opened(path, path.stat().st_mtime_ns if path.exists() else 0)

    def pseudo_mask(self, photo: Opened, boxes_xyxy: Boxes) -> tuple[Probability, float]:
        """The pseudo-mask (h, w) for (N, 4) boxes in pixels of the whole photo, at the size at which it is shown.

        Returns:
            the mask, and the mean of the teacher's scores, in [0, 1].
        """
        height, width = photo.prepared.shape[:2]
        boxes = scale(boxes_xyxy, width / photo.width, height / photo.height)
        with self._lock, torch.inference_mode():
            (candidates,) = self.teacher.propose(photo.embedding(), [boxes], [(width, height)])
            mask, scores = select(candidates, boxes, self.margin)
        shown = resize_probability(mask.float().cpu().numpy(), photo.shown.shape[1], photo.shown.shape[0])
        return shown, float(scores.float().mean())

    def _open(self, path: Path, modified_ns: int) -> Opened:
        photo = read_photo(path)
        height, width = photo.shape[:2]
        factor = min(WIDTH / width, HEIGHT / height)
        shown = resize_photo(photo, max(1, round(width * factor)), max(1, round(height * factor)))
        prepared = self.teacher.preparation()(photo)
        embedding = lru_cache(maxsize=1)(lambda: self.teacher.embed([prepared]))
        return Opened(shown, width, height, prepared, embedding)
