"""Plain folders: images, their masks and, optionally, authentic images.

    images/photo.jpg         manipulated
    masks/photo.png          its mask, white = manipulated; also photo_gt.png or photo_mask.png
    authentic/other.jpg      optional

Subfolders are allowed if they are the same below images and masks. Use this layout for your own data.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import find_folder, images_in, need_folder, pair, untouched

EXPECTED = Expected()
MASKS: MaskForm = "white"
MASK_ENDINGS = ("", "_gt", "_mask")
"""Suffixes of a mask's stem: ``photo.jpg`` is paired with ``photo.png``, ``photo_gt.png`` or ``photo_mask.png``."""


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    return listing(need_folder(root, "images"), need_folder(root, "masks"), find_folder(root, "authentic"), root)


def listing(images: Path, masks: Path, authentic: Path | None, root: Path) -> Found:
    """Pair images below one folder with masks below another by their relative paths without suffix.

    Args:
        images: folder of manipulated images.
        masks: folder of masks; may be the same folder if the masks' names have a suffix such as _gt.
        authentic: folder of authentic images, or None.
        root: common parent folder. A folder may lie inside another one, whose files then do not include it.

    Raises:
        ImageError: a folder does not exist.
        InputError: the authentic images' folder is that of the images or of the masks.
    """
    if authentic is not None and authentic.resolve() in (images.resolve(), masks.resolve()):
        raise InputError(f"{authentic}: given for authentic and for manipulated images; give each a folder of its own")
    mixed = images.resolve() == masks.resolve()
    mask_files = [path for path in images_in(masks, authentic, images) if not mixed or _has_ending(path)]
    known = {path.resolve() for path in mask_files}
    image_files = [path for path in images_in(images, authentic, masks) if path.resolve() not in known]
    paired, strays = pair(
        image_files,
        mask_files,
        mask_names=lambda image: [_name(image, images) + ending for ending in MASK_ENDINGS],
        mask_name=lambda mask: _name(mask, masks),
    )
    return Found(root, [*paired, *untouched(images_in(authentic, images, masks))], strays)


def _has_ending(path: Path) -> bool:
    return any(path.stem.endswith(ending) for ending in MASK_ENDINGS if ending)


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
