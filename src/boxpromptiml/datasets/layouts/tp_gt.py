"""`Tp/` and `Gt/`, the layout that IMDLBenCo's ManiDataset and many preprocessed copies of benchmark sets use.

    Tp/photo.jpg             manipulated
    Gt/photo.png             its mask, white = manipulated; also photo_gt.png or photo_mask.png
    Au/other.jpg             authentic, optional

IMDLBenCo pairs the two folders by sorted order, so one missing file gives every later image its neighbour's mask.
Here one missing mask costs one image, which is named.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.layouts.folders import listing
from boxpromptiml.datasets.pairing import find_folder, need_folder

EXPECTED = Expected()
MASKS: MaskForm = "white"


def find(root: Path) -> Found:
    """List the set at ``root``."""
    return listing(need_folder(root, "Tp"), need_folder(root, "Gt"), find_folder(root, "Au"), root)
