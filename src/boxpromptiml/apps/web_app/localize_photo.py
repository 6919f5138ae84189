"""What the app does with a photo: it runs the student, and keeps the prediction for the tab *Localize* and a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from boxpromptiml.apps.web_app import markup
from boxpromptiml.images import (
    FileFacts,
    ImageError,
    Mask,
    Photo,
    Probability,
    read_facts,
    read_upright,
    resize_photo,
    resize_probability,
    visualization,
)
from boxpromptiml.images.connected_regions import Region, find_regions

if TYPE_CHECKING:  # a slow import that is not needed without a student
    from stage2_distill.inference.localizer import Localizer

SIDES = (640, 4096)
"""Smallest and largest length, in pixels, of the displayed photo's longer side."""
QUALITY = 90
"""JPEG quality of the displayed photo."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalizedPhoto:
    """A photo with the student's prediction; maps are at the student's own resolution.

    Attributes:
        name: file name of the photo.
        picture: the displayed photo as a data URI.
        shown_width: width of the displayed photo in pixels.
        shown_height: height of the displayed photo in pixels.
        width: width of the whole photo in pixels.
        height: height of the whole photo in pixels.
        score: score of the whole photo, in [0, 1].
        probability: probability of manipulation, in [0, 1]; at the photo's own resolution if it was tiled.
        gate_prior: G_avg, in [0, 1].
        memory_prior: Ā_mem, in [0, 1].
        tiled: whether it was processed in tiles.
        facts: facts about the photo's file; None for a photo without a file.
    """

    name: str
    picture: str
    shown_width: int
    shown_height: int
    width: int
    height: int
    score: float
    probability: Probability
    gate_prior: Probability
    memory_prior: Probability
    tiled: bool = False
    facts: FileFacts | None = None

    def overlay_uri(self, threshold: float) -> str:
        """Render the region above a threshold as a data URI, to be overlaid on the displayed photo."""
        region = resize_probability(self.probability, self.shown_width, self.shown_height) > threshold
        layer = visualization.overlay_layer(region, border=markup.BORDER)
        return "data:image/png;base64," + base64.b64encode(layer).decode()

    def caption(self) -> str:
        """Return name, size, and the most important facts about the file."""
        smaller = f", shown at {self.shown_width} × {self.shown_height}" if self.shown_width < self.width else ""
        line = f"{self.name}, {self.width} × {self.height}{smaller}{', in tiles' * self.tiled}"
        return f"{line}. {self.facts.line()}" if self.facts else line


def regions_of(view: LocalizedPhoto, threshold: float) -> tuple[Mask, list[Region]]:
    """Return mask (H, W) and regions above a threshold, at the photo's own size."""
    probability = resize_probability(view.probability, view.width, view.height)
    return probability > threshold, find_regions(probability, threshold)


def localize_photo(
    localizer: Localizer, photo: Photo, name: str, tiled: bool = False, facts: FileFacts | None = None
) -> LocalizedPhoto:
    """Run the student on a photo.

    Args:
        localizer: the student.
        photo: (H, W, 3) uint8 RGB.
        name: original file name.
        tiled: also process it at its own resolution, in overlapping tiles, which then give the probability.
        facts: facts about the photo's file, if it has one.
    """
    from stage2_distill.data.preprocessing import student_input
    from stage2_distill.inference.tiling import localize_tiled

    side = localizer.student.image_size
    image = student_input(photo, side)[None].to(localizer.student.mean.device)
    with torch.inference_mode():
        localization = localizer.student(image)
    maps = (torch.sigmoid(localization.logits), localization.gate_prior, localization.memory_prior)
    probability, gate_prior, memory_prior = (of_batch[0, 0].float().cpu().numpy() for of_batch in maps)
    score = localization.score.item()
    if tiled:
        probability, score = localize_tiled(photo, side, localizer.localize_scored)
    (height, width), (shown_width, shown_height) = photo.shape[:2], _shown_size(photo)
    picture = visualization.data_uri(resize_photo(photo, shown_width, shown_height), QUALITY)
    return LocalizedPhoto(
        name,
        picture,
        shown_width,
        shown_height,
        width,
        height,
        score,
        probability,
        gate_prior,
        memory_prior,
        tiled,
        facts,
    )


def localize_upload(localizer: Localizer, upload: Path, name: str, tiled: bool = False) -> LocalizedPhoto:
    """Run the student on an uploaded photo, as `localize_photo` does, and always delete the file.

    Raises:
        ImageError: the photo cannot be read; the message uses its original name.
    """
    try:
        upright = read_upright(upload)
        return localize_photo(localizer, upright.photo(), name, tiled, read_facts(upload, upright.orientation))
    except ImageError as error:
        raise ImageError(str(error).replace(str(upload), name)) from None
    finally:
        upload.unlink(missing_ok=True)


def _shown_size(photo: Photo) -> tuple[int, int]:
    """Return the display size (width, height): small photos are enlarged, so that outlines stay thin."""
    height, width = photo.shape[:2]
    longest = max(height, width)
    factor = min(max(longest, SIDES[0]), SIDES[1]) / longest
    return max(1, round(width * factor)), max(1, round(height * factor))
