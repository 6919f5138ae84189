"""AutoSplice: 3,621 news photos in which DALL-E 2 painted a region anew, and 2,273 authentic ones, in JPEG.

    Authentic/39406.jpg
    Forged_JPEG75/39406_0.jpg           also Forged_JPEG90 and Forged_JPEG100
    Mask/39406_mask.png                 one mask for all versions of a photo

Source: by a form on https://github.com/shanface33/AutoSplice_Dataset. Jia et al., CVPR workshops 2023.
Terms: for academic research that is not commercial.

The root is the data set's folder, of which the images of quality 75 are taken, the authentic photos' own; or the folder
of one quality, such as Forged_JPEG90. Known bad files: some 16 images of very many pixels, which others leave out.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import find_folder, images_in, need_folder, pair, untouched

EXPECTED = Expected(manipulated=3621, authentic=2273, test=3621)
MASKS: MaskForm = "white"


def find(root: Path) -> Found:
    """List the set at ``root``."""
    forged = root if root.name.lower().startswith("forged_") else need_folder(root, "Forged_JPEG75")
    top = forged.parent
    paired, strays = pair(
        images_in(forged),
        images_in(need_folder(top, "Mask")),
        mask_names=lambda image: [f"{_photo(image)}_mask"],
        group=_photo,
        kind=lambda image: "inpainting",
        shared=True,
    )
    return Found(top, [*paired, *untouched(images_in(find_folder(top, "Authentic")))], strays)


def _photo(image: Path) -> str:
    return image.stem.rpartition("_")[0] or image.stem
