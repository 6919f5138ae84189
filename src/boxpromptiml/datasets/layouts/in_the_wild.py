"""In-the-Wild: 201 splices collected from the web.

    label_in_wild/images/2251.jpg
    label_in_wild/masks/2251.png

Source: https://minyoungg.github.io/selfconsistency/ (label_in_wild.tar.gz). Huh et al., ECCV 2018.
Terms: for research; images from The Onion and Reddit's photoshopbattles, no licence is stated.

No bad files are known.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import images_in, need_folder, pair

EXPECTED = Expected(manipulated=201, authentic=0, test=201)
MASKS: MaskForm = "white"


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    paired, strays = pair(
        images_in(need_folder(root, "images")),
        images_in(need_folder(root, "masks")),
        mask_names=lambda image: [image.stem],
        kind=lambda image: "splice",
    )
    return Found(root, paired, strays)
