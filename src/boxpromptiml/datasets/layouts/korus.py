"""Korus, the Realistic Tampering Dataset: 220 forgeries made by hand and their originals, 1920 × 1080, in TIFF.

    Canon_60D/pristine/DPP0012.TIF                 also Nikon_D90, Nikon_D7000, Sony_A57
    Canon_60D/tampered-realistic/DPP0012.TIF
    Canon_60D/ground-truth/DPP0012.PNG

Source: https://pkorus.pl/downloads/dataset-realistic-tampering. Korus and Huang, IEEE TIFS 2017.
Terms: for education and research.

The masks have three levels: white for changed content, grey for pixels that were altered along with it. The data set's
readme counts both as tampered, so all pixels that are not black count. No bad files are known.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import images_in, pair, untouched

EXPECTED = Expected(manipulated=220, authentic=220, test=220)
MASKS: MaskForm = "not_black"


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    files = images_in(root)
    tampered, masks, pristine = (
        [path for path in files if path.parent.name.lower() == folder]
        for folder in ("tampered-realistic", "ground-truth", "pristine")
    )
    paired, strays = pair(tampered, masks, lambda image: [_photo(image)], mask_name=_photo, group=_photo)
    return Found(root, [*paired, *untouched(pristine, _photo)], strays)


def _photo(path: Path) -> str:
    return f"{path.parents[1].name}/{path.stem}"
