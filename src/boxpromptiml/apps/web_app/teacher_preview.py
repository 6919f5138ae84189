"""Preview of the teacher's pseudo-mask for the boxes drawn on one photo."""

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
"""Maximum size in pixels of a photo on the page, which fits a laptop's screen beside its pseudo-mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A photo being annotated.

    Attributes:
        shown: (h, w, 3) at the size at which boxes are drawn.
        width: width of the whole photo in pixels.
        height: height of the whole photo in pixels.
        prepared: resized for the teacher.
        embedding: returns the teacher's embedding, computed on the first call.
    """

    shown: Photo
    width: int
    height: int
    prepared: Photo
    embedding: Callable[[], Any]


class Previewer:
    """A teacher applied to one photo at a time. The most recent photos are cached.

    Args:
        teacher: makes the masks; it is loaded here.
        margin: how far a mask may extend beyond each side of its box, as in `boxpromptiml pseudomasks`.
    """

    def __init__(self, teacher: Teacher, margin: float = 0.05) -> None:
        self.teacher = teacher
        self.margin = margin
        teacher.load(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self._opened = lru_cache(maxsize=2)(self._open)
        self._lock = Lock()

    def open(self, path: Path) -> Opened:
        """Read a photo, or return it from the cache if its file has not changed.

        Raises:
            ImageError: it cannot be read.
        """
        with self._lock:
            return self._opened(path, path.stat().st_mtime_ns if path.exists() else 0)

    def pseudo_mask(self, photo: Opened, boxes_xyxy: Boxes) -> tuple[Probability, float]:
        """Compute the pseudo-mask (h, w) at display size for (N, 4) boxes in pixels of the whole photo.

        Returns:
            The mask, and the mean of the teacher's scores, in [0, 1].
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
