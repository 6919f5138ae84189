"""A photo as the student saw it: what the tab *Localize* keeps, and what a page about the photo shows."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from boxpromptiml.apps.web_app import markup
from boxpromptiml.images import FileFacts, Mask, Probability, resize_probability, visualization
from boxpromptiml.images.regions import Region, find_regions


@dataclass(frozen=True, slots=True, eq=False)
class LocalizedPhoto:
    """A photo and what the student says about it; maps are at the student's own resolution.

    Attributes:
        name: of the file.
        picture: the photo as a data URI, at the size at which it is shown.
        shown_width: of the picture in pixels.
        shown_height: of the picture in pixels.
        width: of the whole photo in pixels.
        height: of the whole photo in pixels.
        probability: of manipulation, in [0, 1]; at the photo's own resolution where it was looked at in tiles.
        gate_prior: G_avg, in [0, 1].
        memory_prior: Ā_mem, in [0, 1].
        tiled: whether it was looked at in tiles.
        facts: of its file; None for a photo that came from none.
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

    def answer(self, threshold: float) -> str:
        """The region above a threshold as a data URI, to lie on the picture."""
        region = resize_probability(self.probability, self.shown_width, self.shown_height) > threshold
        layer = visualization.overlay_layer(region, border=markup.BORDER)
        return "data:image/png;base64," + base64.b64encode(layer).decode()

    def caption(self) -> str:
        """Name, size, and the facts of the file that matter most."""
        smaller = f", shown at {self.shown_width} × {self.shown_height}" if self.shown_width < self.width else ""
        line = f"{self.name}, {self.width} × {self.height}{smaller}{', in tiles' * self.tiled}"
        return f"{line}. {self.facts.line()}" if self.facts else line


def regions_of(view: LocalizedPhoto, threshold: float) -> tuple[Mask, list[Region]]:
    """Mask (H, W) and regions above a threshold, at the photo's own size."""
    probability = resize_probability(view.probability, view.width, view.height)
    return probability > threshold, find_regions(probability, threshold)
