"""Write the manifest of a data set: coarse boxes drawn from its masks, as a person would draw them."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from boxpromptiml.boxes import BoxMode, as_boxes, boxes_from_mask
from boxpromptiml.datasets.folders import Unpaired, pair_by_name
from boxpromptiml.images import ImageError, Mask, list_images, read_mask, read_photo
from boxpromptiml.manifest import write_manifest
from boxpromptiml.records import ImageRecord, InputError, Split


def prepare(
    images: Path,
    masks: Path,
    out: Path,
    authentic: Path | None = None,
    source: str | None = None,
    split: Split = "test",
    val_share: float = 0.0,
    looseness: float = 0.15,
    mode: BoxMode = "region",
    min_area: float = 0.0005,
    seed: int = 0,
) -> int:
    """Write a manifest with coarse boxes for a folder of images and a folder of masks.

    Images and masks are paired by name: photo.jpg with photo.png, photo_gt.png or photo_mask.png. Every file is decoded
    once; those that cannot be used are listed and left out. No image is copied or changed.

    Args:
        images: folder of manipulated images, searched with its subfolders.
        masks: folder of their masks, white = manipulated; it may be the same folder.
        out: the manifest to write, a .json file.
        authentic: folder of images that are known to be authentic.
        source: name of the set in scores and reports; by default the manifest's name.
        split: train, val or test.
        val_share: share of the images that go to val instead, chosen by name; an authentic image and the forgery of
            the same name stay together.
        looseness: largest outward move of a box's side, as a share of the box.
        mode: region draws one box around each manipulated region, image one box around all of them.
        min_area: smallest region that gets a box of its own, as a share of the image.
        seed: of the looseness.

    Returns:
        0, or 3 when files were set aside.

    Raises:
        InputError: a folder does not exist, no image can be used, or the manifest's name does not end in .json.
    """
    if out.suffix.lower() != ".json":
        raise InputError(f"{out}: a manifest is a JSON file; give it a name such as {out.name or 'set'}.json")
    if not 0 <= val_share < 1:
        raise InputError(f"val_share is {val_share:g}; use a share from 0 to below 1")
    pairing = pair_by_name(images, masks, leave_out=authentic)
    untouched = [] if authentic is None else list_images(authentic)
    files: list[tuple[Path, Path | Unpaired | None]] = [*pairing.images, *((path, None) for path in untouched)]
    set_aside = [stray.reason for stray in pairing.stray_masks]
    records: list[ImageRecord] = []
    for image_id, (path, mask_path) in enumerate(tqdm(files, unit=" images"), start=1):
        try:
            if isinstance(mask_path, Unpaired):
                raise ImageError(mask_path.reason)
            mask, width, height = _read(path, mask_path)
        except ImageError as error:
            set_aside.append(str(error))
            continue
        # Ids count every file; split and boxes depend on the name alone. So a missing file changes no other image.
        rng = np.random.default_rng([seed, zlib.crc32(path.stem.encode())])
        image_split: Split = "val" if rng.random() < val_share else split
        boxes = as_boxes([]) if mask is None else boxes_from_mask(mask, rng, looseness, min_area, mode)
        records.append(
            ImageRecord(
                image_id=image_id,
                path=path,
                width=width,
                height=height,
                boxes_xyxy=boxes,
                split=image_split,
                source=source or out.stem,
                mask_path=mask_path,
                authentic=mask_path is None,
            )
        )
    for reason in set_aside:
        print(f"set aside: {reason}")
    if not records:
        raise InputError(f"{images}: {len(files)} images found and none that can be used; correct what is said above")
    folders = [folder.resolve() for folder in (images, masks, authentic) if folder is not None]
    write_manifest(out, records, description=source or out.stem, root=Path(os.path.commonpath(folders)))
    pairs = sum(not record.authentic for record in records)
    print(
        f"{out}: {pairs} of {len(pairing.images)} images paired with a mask, {len(records) - pairs} authentic, "
        f"{len(set_aside)} files set aside"
    )
    return 3 if set_aside else 0


def _read(path: Path, mask_path: Path | None) -> tuple[Mask | None, int, int]:
    """The mask of an image, and the image's width and height once all of it was decoded."""
    height, width = read_photo(path).shape[:2]
    if mask_path is None:
        return None, width, height
    mask = read_mask(mask_path, (width, height))
    if not mask.any():
        raise ImageError(f"{mask_path}: the mask is empty; move {path.name} to the authentic images if it is one")
    return mask, width, height
