"""NIST16 (Nimble Challenge 2016): 564 splices, copy-moves and removals at full camera resolution.

    reference/manipulation/NC2016-manipulation-ref.csv       masks and originals of the probes, separated by |
    reference/manipulation/mask/NC2016_1234.png              black = manipulated
    probe/NC2016_5678.jpg
    world/NC2016_9012.jpg                                    originals and donors, not used

Source: https://mfc.nist.gov (NC2016_Test0613). Guan et al., WACV workshops 2019.
Terms: after registration and a data agreement with NIST.

The columns ProbeFileName, ProbeMaskFileName, IsTarget, BaseFileName and IsManipulationType{Splice,CopyClone,Removal} of
the table are used. Rows with IsTarget N are authentic; how many there are is not documented. Copies saved by a
spreadsheet have True and False instead of Y and N. In the masks black means manipulated, as in NIST's scoring tools, so
they are converted to white.

Each original was used for about ten images that differ in compression and small edits, so a random split leaks
(https://github.com/DSLJDI/NIST16-data-set-deduplication). Here all images with the same BaseFileName stay together.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import Expected, Found, ListedImage, MaskForm, Unpaired
from boxpromptiml.datasets.pairing import need_folder

EXPECTED = Expected(manipulated=564, train=414, test=150)
MASKS: MaskForm = "black"
TABLE = Path("reference", "manipulation", "NC2016-manipulation-ref.csv")
KINDS = {"Splice": "splice", "CopyClone": "copy_move", "Removal": "removal"}


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    top = need_folder(root, "reference").parent
    images: list[ListedImage | Unpaired] = []
    listed: set[str] = set()
    for row in _rows(top / TABLE):
        probe = row["ProbeFileName"]
        twice = f"{top / probe}: listed more than once in {TABLE.name}; using the first row"
        images.append(Unpaired(top / probe, twice) if probe in listed else _entry(top, row))
        listed.add(probe)
    return Found(top, images, [])


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = [{key: value or "" for key, value in row.items()} for row in csv.DictReader(stream, delimiter="|")]
    except (OSError, ValueError, csv.Error, AttributeError) as error:
        raise InputError(f"{table}: cannot be read ({error}); restore it from NIST's archive") from None
    missing = {"ProbeFileName", "ProbeMaskFileName", "IsTarget"} - set(rows[0] if rows else [])
    if missing:
        raise InputError(f"{table}: has no column {', '.join(sorted(missing))}; restore it from NIST's archive")
    return rows


def _entry(top: Path, row: Mapping[str, str]) -> ListedImage | Unpaired:
    image = top / row["ProbeFileName"]
    group = Path(row.get("BaseFileName") or row["ProbeFileName"]).stem
    target = _says(row["IsTarget"])
    if target is None:
        return Unpaired(image, f"{image}: {TABLE.name} says {row['IsTarget']!r} for IsTarget; write Y or N")
    if not target:
        return ListedImage(image, None, group)
    if not row["ProbeMaskFileName"]:
        return Unpaired(image, f"{image}: manipulated, but {TABLE.name} lists no mask for it; it cannot be used")
    kinds = [kind for name, kind in KINDS.items() if _says(row.get(f"IsManipulationType{name}", ""))]
    return ListedImage(image, top / row["ProbeMaskFileName"], group, kinds[0] if len(kinds) == 1 else None)


def _says(text: str) -> bool | None:
    """Parse a yes/no cell; None for anything else."""
    word = text.strip().lower()
    return True if word in ("y", "yes", "true", "1") else False if word in ("n", "no", "false", "0") else None
