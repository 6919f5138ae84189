"""IMD2020, real-life manipulations from the web: 2,010 manipulated versions of 414 photos.

    1a07yi/1a07yi_orig.jpg          authentic
    1a07yi/c8swtoq_0.jpg            one of several manipulated versions (.jpg or .png)
    1a07yi/c8swtoq_0_mask.png       its mask
    z28/00065_orig.jpg, z28/00065_fake.jpg, z28/00065_fake_mask.png

Source: https://staff.utia.cas.cz/novozada/db/ (IMD2020.zip). Novozámský, Mahdian and Saic, WACV workshops 2020.
Terms: for research; the page states no licence.

Known bad file: the mask of z14/00030_fake.jpg has a different size; IML-Dataset-Corrections (see CASIA v2) has a new
one.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import images_in, pair, untouched

EXPECTED = Expected(manipulated=2010, authentic=414, test=2010)
MASKS: MaskForm = "white"


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    files = images_in(root)
    masks = [path for path in files if path.stem.endswith("_mask")]
    originals = [path for path in files if path.stem.endswith("_orig")]
    others = set(files) - set(masks) - set(originals)
    paired, strays = pair(
        [path for path in files if path in others],
        masks,
        mask_names=lambda image: [f"{_name(image)}_mask"],
        mask_name=_name,
        group=_thread,
    )
    return Found(root, [*paired, *untouched(originals, _thread)], strays)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _thread(path: Path) -> str:
    return path.parent.name
