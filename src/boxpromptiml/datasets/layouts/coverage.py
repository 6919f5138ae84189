"""COVERAGE: 100 copy-moves in scenes with similar genuine objects, and their 100 originals, in TIFF.

    image/1.tif              authentic
    image/1t.tif             tampered
    mask/1forged.tif         the pasted region; 1copy.tif and 1paste.tif are not used

Source: https://github.com/wenbihan/coverage. Wen et al., ICIP 2016.
Terms: copyrighted, for non-commercial research.

Known bad files: the masks of 41, 48, 55 to 59, 61 and 95 have a different size than their images;
https://github.com/SunnyHaze/IML-Dataset-Corrections links to corrected ones.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import images_in, need_folder, pair, untouched

EXPECTED = Expected(manipulated=100, authentic=100, train=70, test=30)
MASKS: MaskForm = "white"


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    images = images_in(need_folder(root, "image"))
    paired, strays = pair(
        [image for image in images if image.stem.endswith("t")],
        [mask for mask in images_in(need_folder(root, "mask")) if mask.stem.endswith("forged")],
        mask_names=lambda image: [f"{_number(image)}forged"],
        group=_number,
        kind=lambda image: "copy_move",
    )
    return Found(root, [*paired, *untouched(i for i in images if not i.stem.endswith("t"))], strays)


def _number(image: Path) -> str:
    return image.stem.removesuffix("t")
