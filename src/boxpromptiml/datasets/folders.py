"""The plainest layout: a folder of images and a folder of masks, paired by name and never by order.

Pairing by sorted order goes wrong silently when one file is missing: every later image gets its neighbour's mask.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from boxpromptiml.images import list_images

MASK_ENDINGS = ("", "_gt", "_mask")
"""What a mask's name may add to its image's: ``photo.jpg`` goes with ``photo.png``, ``photo_gt.png``, …"""


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A file without exactly one partner, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """What two folders hold.

    Attributes:
        images: every image with its mask, or with what is wrong, in an order that does not depend on the file system.
        stray_masks: masks that belong to no image.
    """

    images: list[tuple[Path, Path | Unpaired]]
    stray_masks: list[Unpaired]


def pair_by_name(images: Path, masks: Path, leave_out: Path | None = None) -> Pairing:
    """Pair the images below one folder with the masks below another by their paths without suffix.

    Args:
        images: folder of images, with subfolders. Masks inside it are not taken for images.
        masks: folder of masks with the same subfolders; it may be the same folder when mask names have an ending.
        leave_out: a folder below the other two that is not looked at, such as authentic images.

    Raises:
        ImageError: a folder does not exist.
    """
    image_files, mask_files = _tell_apart(images, masks, leave_out)
    masks_named: dict[str, list[Path]] = defaultdict(list)
    images_named: dict[str, list[Path]] = defaultdict(list)
    for path in mask_files:
        masks_named[_name(path, masks)].append(path)
    for path in image_files:
        images_named[_name(path, images)].append(path)

    paired: list[tuple[Path, Path | Unpaired]] = []
    taken: set[Path] = set()
    for path in image_files:
        name = _name(path, images)
        partners = [mask for ending in MASK_ENDINGS for mask in masks_named.get(name + ending, [])]
        taken.update(partners)
        paired.append((path, _only_partner(path, partners, images_named[name], masks)))
    strays = [Unpaired(mask, f"{mask}: a mask without an image") for mask in mask_files if mask not in taken]
    return Pairing(paired, strays)


def _only_partner(path: Path, masks: list[Path], namesakes: list[Path], folder: Path) -> Path | Unpaired:
    if len(namesakes) > 1:
        others = ", ".join(other.name for other in namesakes if other != path)
        return Unpaired(path, f"{path}: shares its name with {others}; rename one")
    if not masks:
        return Unpaired(path, f"{path}: no mask of that name in {folder}; add it, or move the image away")
    if len(masks) > 1:
        found = ", ".join(mask.name for mask in masks)
        return Unpaired(path, f"{path}: more than one mask of that name ({found}); keep one")
    return masks[0]


def _tell_apart(images: Path, masks: Path, leave_out: Path | None) -> tuple[list[Path], list[Path]]:
    """Image files and mask files, also where one folder holds the other."""
    mixed = images.resolve() == masks.resolve()
    mask_files = [path for path in _outside(list_images(masks), leave_out) if not mixed or _has_ending(path)]
    known = {path.resolve() for path in mask_files}
    image_files = [path for path in _outside(list_images(images), leave_out) if path.resolve() not in known]
    return image_files, mask_files


def _outside(paths: list[Path], folder: Path | None) -> list[Path]:
    return [path for path in paths if folder is None or not path.resolve().is_relative_to(folder.resolve())]


def _has_ending(path: Path) -> bool:
    return any(path.stem.endswith(ending) for ending in MASK_ENDINGS if ending)


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
