"""CocoGlide: 512 photos of COCO in which GLIDE painted an object anew, and the photos themselves, 256 × 256.

    fake/glide_inpainting_val2017_114871_up.png
    real/dining table_114871.png
    mask/dining table_114871_mask.png

Source: https://www.grip.unina.it/download/prog/TruFor/CocoGlide.zip. Guillaro et al. (TruFor), CVPR 2023.
Terms: the photos have COCO's licences, most of them Creative Commons.

The three folders name a photo differently; the number that all of them hold is COCO's id. No bad file is known.
"""

from __future__ import annotations

import re
from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import find_folder, images_in, need_folder, pair, untouched

EXPECTED = Expected(manipulated=512, authentic=512, test=512)
MASKS: MaskForm = "white"


def find(root: Path) -> Found:
    """List the set at ``root``."""
    paired, strays = pair(
        images_in(need_folder(root, "fake")),
        images_in(need_folder(root, "mask")),
        mask_names=lambda image: [_coco_id(image)],
        mask_name=_coco_id,
        group=_coco_id,
        kind=lambda image: "inpainting",
    )
    return Found(root, [*paired, *untouched(images_in(find_folder(root, "real")), _coco_id)], strays)


def _coco_id(path: Path) -> str:
    """The last number in the name, or the name where there is none."""
    return (re.findall(r"\d+", path.stem) or [path.stem])[-1]
