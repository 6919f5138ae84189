"""Answers of the service: a prediction for a photo as JSON."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from boxpromptiml.images import Mask, to_uint8
from boxpromptiml.images.connected_regions import Polygon, find_regions, run_lengths
from stage2_distill.inference.scored_map import ScoredMap

Form = Literal["png", "rle", "none"]
"""Encoding of a mask."""


class RegionFound(BaseModel):
    """A connected region of manipulated pixels; vertices are at the edges of pixels."""

    box_xyxy: tuple[int, int, int, int]
    score: float
    area: int
    outline: Polygon
    holes: list[Polygon]


class RunLengths(BaseModel):
    """A mask in the format of pycocotools; `size` is height and width."""

    size: tuple[int, int]
    counts: str


class Answer(BaseModel):
    """Prediction for a photo, at its own size, upright."""

    file: str
    width: int
    height: int
    score: float
    area: float
    threshold: float
    regions: list[RegionFound]
    mask: str | RunLengths | None
    probability: str | None


def encoded_answer(
    name: str, found: ScoredMap, width: int, height: int, form: Form, probability: bool, threshold: float
) -> bytes:
    """Encode an `Answer` as JSON.

    Args:
        name: file name of the photo.
        found: map (h, w) of any size, and score.
        width: width of the photo in pixels.
        height: height of the photo in pixels.
        form: encoding of the mask.
        probability: whether to add the probability map.
        threshold: pixels with a probability strictly above it are manipulated.
    """
    whole = found.resized(width, height).probability
    mask = whole > threshold
    answer = Answer(
        file=name,
        width=width,
        height=height,
        score=found.score,
        area=float(mask.mean()),
        threshold=threshold,
        regions=[RegionFound(**asdict(region)) for region in find_regions(whole, threshold)],
        mask=_encoded_mask(mask, form),
        probability=_png(to_uint8(whole)) if probability else None,
    )
    return answer.model_dump_json().encode()


def _encoded_mask(mask: Mask, form: Form) -> str | RunLengths | None:
    if form == "rle":
        return RunLengths.model_validate(run_lengths(mask))
    return _png(mask * np.uint8(255)) if form == "png" else None


def _png(picture: NDArray[np.uint8]) -> str:
    _, content = cv2.imencode(".png", picture)
    return base64.b64encode(content.tobytes()).decode()
