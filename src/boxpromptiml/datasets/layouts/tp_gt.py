"""`Tp/` and `Gt/`, the layout of IMDLBenCo's ManiDataset and of many preprocessed copies of benchmarks.

    Tp/photo.jpg             manipulated
    Gt/photo.png             its mask, white = manipulated; also photo_gt.png or photo_mask.png
    Au/other.jpg             authentic, optional

IMDLBenCo pairs the two folders by sorted order, so one missing file gives every later image the wrong mask. Here a
missing mask only affects its own image, which is reported.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.layouts.folders import listing
from boxpromptiml.datasets.pairing import find_folder, need_folder

EXPECTED = Expected()
MASKS: MaskForm = "white"


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    return listing(need_folder(root, "Tp"), need_folder(root, "Gt"), find_folder(root, "Au"), root)
