"""Plain folders: images, their masks and, where there are any, authentic images.

    images/photo.jpg         manipulated
    masks/photo.png          its mask, white = manipulated; also photo_gt.png or photo_mask.png
    authentic/other.jpg      optional

Subfolders are allowed when they are the same below images and masks. This is the layout to bring an own set into.
"""

from __future__ import annotations

from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.pairing import find_folder, images_in, need_folder, pair, untouched

EXPECTED = Expected()
MASKS: MaskForm = "white"
MASK_ENDINGS = ("", "_gt", "_mask")
"""What a mask's name may add to its image's: ``photo.jpg`` goes with ``photo.png``, ``photo_gt.png``, …"""


def find(root: Path) -> Found:
    """List the set at ``root``."""
    return listing(need_folder(root, "images"), need_folder(root, "masks"), find_folder(root, "authentic"), root)


def listing(images: Path, masks: Path, authentic: Path | None, root: Path) -> Found:
    """Pair the images below one folder with the masks below another by their paths without suffix.

    Args:
        images: folder of manipulated images. Masks and authentic images inside it are not taken for such.
        masks: folder of masks; it may be the same folder when the masks' names have an ending.
        authentic: folder of authentic images, or None.
        root: a folder above all of them.

    Raises:
        ImageError: a folder does not exist.
    """
    mixed = images.resolve() == masks.resolve()
    mask_files = [path for path in images_in(masks, authentic) if not mixed or _has_ending(path)]
    known = {path.resolve() for path in mask_files}
    image_files = [path for path in images_in(images, authentic) if path.resolve() not in known]
    paired, strays = pair(
        image_files,
        mask_files,
        mask_names=lambda image: [_name(image, images) + ending for ending in MASK_ENDINGS],
        mask_name=lambda mask: _name(mask, masks),
    )
    return Found(root, [*paired, *untouched(images_in(authentic))], strays)


def _has_ending(path: Path) -> bool:
    return any(path.stem.endswith(ending) for ending in MASK_ENDINGS if ending)


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
