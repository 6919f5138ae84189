"""Native layouts of data sets, one module each: folder tree, source, licence, known bad files, expected counts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import Found, Layout
from boxpromptiml.datasets.layouts import (
    autosplice,
    casia_v1,
    casia_v2,
    cocoglide,
    columbia,
    coverage,
    dso1,
    folders,
    imd2020,
    imdlbenco,
    in_the_wild,
    korus,
    nist16,
    osn,
    tp_gt,
)

LayoutName = Literal[
    "autosplice",
    "casia_v1",
    "casia_v2",
    "cocoglide",
    "columbia",
    "coverage",
    "dso1",
    "folders",
    "imd2020",
    "imdlbenco",
    "in_the_wild",
    "korus",
    "nist16",
    "osn",
    "tp_gt",
]

LAYOUTS: dict[LayoutName, Layout] = {
    "autosplice": autosplice,
    "casia_v1": casia_v1,
    "casia_v2": casia_v2,
    "cocoglide": cocoglide,
    "columbia": columbia,
    "coverage": coverage,
    "dso1": dso1,
    "folders": folders,
    "imd2020": imd2020,
    "imdlbenco": imdlbenco,
    "in_the_wild": in_the_wild,
    "korus": korus,
    "nist16": nist16,
    "osn": osn,
    "tp_gt": tp_gt,
}


def find_in(layout: LayoutName, root: Path) -> Found:
    """List the files of a data set in its native layout.

    Raises:
        InputError: a folder is missing, or there are no images.
    """
    if not root.exists():
        raise InputError(f"{root}: does not exist; pass the folder that the data set was unpacked to")
    found = LAYOUTS[layout].find(root.resolve())
    if not found.images:
        raise InputError(f"{root}: no image in the layout {layout} found; see data/README.md for its folders")
    return found
