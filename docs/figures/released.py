"""The released student on the forged photo that the page offers to try.

Command: python docs/figures/released.py
"""

from __future__ import annotations

import forgeries
from matplotlib.figure import Figure

from boxpromptiml.apps.web_app.example_photo import forged_photo
from boxpromptiml.images import visualization
from stage2_distill.inference.localizer import Localizer


def main() -> None:
    """Draw the figure."""
    photo, truth = forged_photo()
    localizer = Localizer.load()
    found = localizer.predict(photo)
    figure = Figure(figsize=(8.4, 2.2), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    forgeries.show(first, photo, "a forged photo")
    forgeries.show(second, visualization.heat(found.probability), "probability of each pixel")
    marked = visualization.overlay(photo, found.probability, localizer.threshold)
    forgeries.show(third, visualization.outlined(marked, truth), "marked; yellow: the truth")
    forgeries.save(figure, "released.jpg")


if __name__ == "__main__":
    main()
