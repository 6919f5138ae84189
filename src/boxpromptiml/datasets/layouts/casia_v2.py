"""CASIA v2: 5,123 splices and copy-moves in JPEG and TIFF, and 7,491 authentic photos. Used for training only.

    Au/Au_ani_00001.jpg
    Tp/Tp_D_CRN_S_N_cha00063_art00014_11818.jpg                          (.jpg and .tif)
    CASIA 2 Groundtruth/Tp_D_CRN_S_N_cha00063_art00014_11818_gt.png      (or Gt/, in the corrected copy)

If CASIA v1 lies under the same folder, as CAT-Net documents, ``CASIA 1.0 dataset`` and its masks are ignored.

Source: masks, and links to the images, at https://github.com/namtpham/casia2groundtruth; with corrected masks (Au, Tp,
Gt) at https://github.com/SunnyHaze/CASIA2.0-Corrected-Groundtruth. Dong, Wang and Tan, ChinaSIP 2013.
Terms: for research; the authors' site is gone, and no licence is stated.

Names are as in CASIA v1. Images with their original names do not match the masks, so download them from the links
above.

Known bad files, as listed by https://github.com/SunnyHaze/IML-Dataset-Corrections and
https://github.com/YanLi8858/Image-Manipulation-Dataset: 17 masks of a different size, of which 5 are rotated by 90
degrees and 2 have a different aspect ratio, so that `resize` repairs 10; 3 images without a mask
(Tp_D_NNN_M_B_art00037_nat10103_10108.tif, Tp_D_NNN_M_N_nat10103_pla10110_10116.tif and
Tp_D_NNN_S_N_nat00042_nat00042_00961.tif); one mask that ends in ``_gt3``. Some photos are also in CASIA v1.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.layouts.casia_v1 import HOMES, OTHER_HOMES, kind, original
from boxpromptiml.datasets.pairing import find_folder, homes, images_in, need_folder, pair, untouched

EXPECTED = Expected(manipulated=5123, authentic=7491, train=5123)
MASKS: MaskForm = "white"


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    masks = ("CASIA 2 Groundtruth", "CASIA 2.0 Groundtruth", "Gt")
    home, beside = homes(root, OTHER_HOMES, HOMES)
    paired, strays = pair(
        images_in(find_folder(home, "Tp") or need_folder(home if beside else root, "Tp")),
        images_in(find_folder(home, *masks) or need_folder(root, *(masks[:2] if beside else masks))),
        mask_names=lambda image: [f"{image.stem}_gt", f"{image.stem}_gt3"],
        group=original,
        kind=kind,
    )
    photos = find_folder(home, "Au") or (None if beside else find_folder(root, "Au"))
    return Found(root, [*paired, *untouched(images_in(photos), original)], strays)
