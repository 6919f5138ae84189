"""A photo with the student's prediction, as kept by the tab *Localize* and shown on a photo's page."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from boxpromptiml.apps.web_app import markup
from boxpromptiml.images import FileFacts, Mask, Probability, resize_probability, visualization
from boxpromptiml.images.connected_regions import Region, find_regions


@dataclass(frozen=True, slots=True, eq=False)
class LocalizedPhoto:
    """A photo with the student's prediction; maps are at the student's own resolution.

    Attributes:
        name: of the file.
        picture: the displayed photo as a data URI.
        shown_width: of the displayed photo in pixels.
        shown_height: of the displayed photo in pixels.
        width: of the whole photo in pixels.
        height: of the whole photo in pixels.
        probability: of manipulation, in [0, 1]; at the photo's own resolution if it was tiled.
        gate_prior: G_avg, in [0, 1].
        memory_prior: Ā_mem, in [0, 1].
        tiled: whether it was processed in tiles.
        facts: of its file; None for a photo without a file.
    """

    name: str
    picture: str
    shown_width: int
    shown_height: int
    width: int
    height: int
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
