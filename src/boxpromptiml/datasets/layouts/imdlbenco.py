"""JSON list of IMDLBenCo (JsonDataset): `[[image, mask or "Negative"], …]`.

    [["/data/CASIAv2/Tp/a.jpg", "/data/CASIAv2/Gt/a_gt.png"], ["/data/CASIAv2/Au/b.jpg", "Negative"]]

The root is the JSON file. Paths are absolute, or relative to its folder, which they cannot leave. In masks white means
manipulated. See https://github.com/scu-zjz/IMDLBenCo.
"""

from __future__ import annotations

import os
from pathlib import Path

from boxpromptiml.core.records import InputError
from boxpromptiml.core.text_decoding import decode_json
from boxpromptiml.datasets.layout import Expected, Found, ListedImage, MaskForm, Unpaired

EXPECTED = Expected()
MASKS: MaskForm = "white"
AUTHENTIC = "Negative"


def find(root: Path) -> Found:
    """List the images of the JSON file ``root``."""
    folder = root.parent.resolve()
    images: list[ListedImage | Unpaired] = []
    listed: set[Path] = set()
    for name, mask_name in _rows(root):
        names = [name] if mask_name == AUTHENTIC else [name, mask_name]
        image, mask = folder / name, folder / mask_name if len(names) > 1 else None
        target = image.resolve()
        reason = f"{image}: listed more than once in {root.name}; using the first row" if target in listed else None
        reason = next((r for given in names if (r := _reason_against(folder, given))), reason)
        images.append(Unpaired(image, reason) if reason else ListedImage(image, mask, image.stem))
        listed.add(target)
    folders = {
        file.parent.resolve()
        for entry in images
        if isinstance(entry, ListedImage)
        for file in (entry.image, entry.mask)
        if file
    }
    return Found(Path(os.path.commonpath(folders)) if folders else folder, images, [])


def _rows(path: Path) -> list[tuple[str, str]]:
    try:
        return decode_json(path.read_bytes(), list[tuple[str, str]])
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f'{path}: not a list of [image, mask or "Negative"] ({error}); pass such a JSON file'
        ) from None


def _reason_against(folder: Path, name: str) -> str | None:
    if ".." in Path(name).parts:
        return f"{name}: points outside the folder of the list; use a name without '..'"
    return None if (folder / name).is_file() else f"{folder / name}: no such file; correct the list or restore the file"
