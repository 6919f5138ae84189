"""OSN: CASIA v1, Columbia, DSO-1 and NIST16 after transmission through Facebook, WhatsApp, Weibo or WeChat.

    Casia_Facebook/{CM,Sp}/Sp_D_….jpg           Casia_Facebook/CASIA_GT/Sp_D_…_gt.png
    Columbia_Facebook/canong3_….jpg             Columbia_Facebook/Columbia_GT/canong3_…_gt.png
    DSO_Weibo/splicing-01.jpg                   DSO_Weibo/DSO_GT/splicing-01_gt.png
    NIST16_Whatsapp/NC2016_….jpeg               NIST16_Whatsapp/NIST16_GT/NC2016_…_gt.png

Source: https://github.com/HighwayWu/ImageForensicsOSN. Wu et al., CVPR 2022.
Terms: those of the four data sets.

The root is the folder of one data set on one network, or a folder of such folders. The masks (here white = tampered)
are either inside, as described by photoholmes for the first three data sets (for NIST16 by analogy, not verified), or
in one folder beside them for all networks (CASIA_GT). A complete data set has as many images as its original. Networks
shrink large images, so use `mismatched: resize`.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import Expected, Found, ListedImage, MaskForm, Unpaired
from boxpromptiml.datasets.layouts import casia_v1
from boxpromptiml.datasets.pairing import images_in, pair

EXPECTED = Expected()
MASKS: MaskForm = "white"
NETWORKS = ("facebook", "whatsapp", "weibo", "wechat")


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    folders = [path for path in (root, *sorted(root.rglob("*"))) if path.is_dir() and _on_a_network(path)]
    if not folders:
        raise InputError(f"{root}: no folder such as Casia_Facebook here; see data/README.md for the set's folders")
    images: list[ListedImage | Unpaired] = []
    strays: list[Unpaired] = []
    for folder in folders:
        truth = _masks_of(folder)
        of_set = folder.name.lower().partition("_")[0]
        paired, unused = pair(
            images_in(folder, truth),
            images_in(truth),
            mask_names=lambda image: [f"{image.stem}_gt", image.stem],
            group=casia_v1.original if of_set == "casia" else lambda image: image.stem,
            kind=casia_v1.kind if of_set == "casia" else lambda image: None,
        )
        images += paired
        strays += unused
    return Found(root.parent if _on_a_network(root) else root, images, strays)


def _on_a_network(folder: Path) -> bool:
    return folder.name.lower().rpartition("_")[2] in NETWORKS


def _masks_of(folder: Path) -> Path:
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower().endswith("_gt")]
    name = folder.name.rpartition("_")[0].lower() + "_gt"
    beside = [path for path in sorted(folder.parent.iterdir()) if path.is_dir() and path.name.lower() == name]
    if not inside and not beside:
        raise InputError(f"{folder}: no folder of masks such as {name} inside or beside it; restore it")
    return (inside or beside)[0]
