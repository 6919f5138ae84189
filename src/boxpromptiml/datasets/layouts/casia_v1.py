"""CASIA v1: 920 splices and copy-moves in JPEG, and 800 authentic photos.

    CASIA 1.0 dataset/
        Au/Au_ani_0001.jpg
        Modified Tp/Tp/{CM,Sp}/Sp_D_CND_A_pla0005_pla0023_0281.jpg       (or Tp/{CM,Sp}, see below)
    CASIA 1.0 groundtruth/{CM,Sp}/Sp_D_CND_A_pla0005_pla0023_0281_gt.png

If CASIA v2 lies under the same folder, as CAT-Net documents, ``CASIA 2.0`` and its masks are ignored.

Source: masks, and links to the images, at https://github.com/namtpham/casia1groundtruth. Dong, Wang and Tan, ChinaSIP
2013.
Terms: for research; the authors' site is gone, and no licence is stated.

Names, as described by the author of the masks: Sp_D copies from another photo (splice), Sp_S within one photo
(copy-move), followed by the source photo and the target photo. Au_pla_0023 is the photo pla0023.

Known bad files: Sp_D_NRN_A_cha0011_sec0011_0542.jpg has no mask, so 920 of 921 images are usable. The masks belong to
the renamed images, ``Modified Tp``; with the original names about 70 images have no mask.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import find_folder, homes, images_in, need_folder, pair, untouched

EXPECTED = Expected(manipulated=920, authentic=800, test=920)
MASKS: MaskForm = "white"
HOMES = ("casia10dataset", "casia10", "casia1", "casiav1", "casiav10")
"""Possible names of the data set's folder, reduced to lower-case letters and digits."""
OTHER_HOMES = ("casia20dataset", "casia20", "casia2", "casiav2", "casiav20", "casia20revised", "casia2revised")
"""The same for CASIA v2."""


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    images, masks = ("Modified Tp", "Tp"), ("CASIA 1.0 groundtruth", "Gt")
    home, beside = homes(root, HOMES, OTHER_HOMES)
    truth = find_folder(home, *masks) or need_folder(root, *(masks[:1] if beside else masks))
    paired, strays = pair(
        images_in(find_folder(home, *images) or need_folder(home if beside else root, *images)),
        images_in(truth),
        mask_names=lambda image: [f"{image.stem}_gt"],
        group=original,
        kind=kind,
    )
    photos = find_folder(home, "Au") or (None if beside else find_folder(root, "Au"))
    return Found(root, [*paired, *untouched(images_in(photos), original)], strays)


def original(image: Path) -> str:
    """Return the photo shown by an image of CASIA v1 or v2: the target photo, or the authentic photo itself."""
    words = image.stem.split("_")
    if words[0] == "Au" and len(words) == 3:
        return words[1] + words[2]
    return words[-2] if len(words) >= 6 else image.stem


def kind(image: Path) -> str | None:
    """Return the type of manipulation from the name of an image of CASIA v1 or v2."""
    return {"D": "splice", "S": "copy_move"}.get(image.stem.split("_")[1]) if "_" in image.stem else None
