"""DSO-1: 100 photos with people spliced in, 100 authentic ones, in PNG.

    DSO-1/splicing-01.png
    DSO-1/normal-01.png
    DSO-1-Fake-Images-Masks/splicing-01.png        black = tampered

Source: http://ic.unicamp.br/~rocha/pub/downloads/2014-tiago-carvalho-thesis/tifs-database.zip. De Carvalho et al., IEEE
TIFS 2013.
Terms: for research; no licence is stated.

The masks are inverted and are converted to white = tampered. The names do not tell which photos a splice consists of.
No bad files are known.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import images_in, need_folder, pair, untouched

EXPECTED = Expected(manipulated=100, authentic=100, test=100)
MASKS: MaskForm = "black"


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    images = images_in(need_folder(root, "DSO-1"))
    paired, strays = pair(
        [image for image in images if image.stem.startswith("splicing")],
        images_in(need_folder(root, "DSO-1-Fake-Images-Masks")),
        mask_names=lambda image: [image.stem],
        kind=lambda image: "splice",
    )
    return Found(root, [*paired, *untouched(i for i in images if i.stem.startswith("normal"))], strays)
