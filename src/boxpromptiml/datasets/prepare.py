"""The command ``prepare``: a manifest for a data set, with coarse boxes derived from its masks."""

from __future__ import annotations

import os
from pathlib import Path

from boxpromptiml.core.boxes_from_mask import BoxMode, Drawing
from boxpromptiml.core.limits import Count, Seed, Share, ShareBelowOne, within_limits
from boxpromptiml.core.records import InputError, Split
from boxpromptiml.datasets.examine import Mismatched, Treatment, common_folder, examine, workers_for
from boxpromptiml.datasets.layout import Expected, Found, MaskForm
from boxpromptiml.datasets.layouts import LAYOUTS, LayoutName, find_in, folders
from boxpromptiml.datasets.splits import in_val
from boxpromptiml.manifests.manifest import manifest_bytes
from boxpromptiml.runtime.processes import processes
from boxpromptiml.runtime.provenance import write_results


@within_limits
def prepare(
    out: Path,
    layout: LayoutName | None = None,
    root: Path | None = None,
    images: Path | None = None,
    masks: Path | None = None,
    authentic: Path | None = None,
    source: str | None = None,
    split: Split = "test",
    val_share: ShareBelowOne = 0.0,
    mismatched: Mismatched = "skip",
    looseness: Share = 0.15,
    looseness_min: Share = 0.0,
    mode: BoxMode = "region",
    min_area: ShareBelowOne = 0.0005,
    seed: Seed = 0,
    allow_incomplete: bool = False,
    workers: Count | None = None,
    overwrite: bool = False,
) -> int:
    """Create a manifest with coarse boxes for a data set in its native layout, or for folders of images and masks.

    Images and masks are paired by name, never by order. Every file is decoded once; unusable files are listed and
    skipped. The data set itself is neither copied nor changed; masks that are not white on black at their image's size
    are converted and written to the folder MANIFEST-masks beside the manifest.

    Args:
        out: the manifest to write, a .json file.
        layout: native layout of the data set; data/README.md shows the folders of each.
        root: folder that the data set was unpacked to; for imdlbenco the JSON file.
        images: instead of layout and root, a folder of manipulated images, including its subfolders.
        masks: folder of their masks, white = manipulated: photo.jpg is paired with photo.png, photo_gt.png or
            photo_mask.png; may be the same folder.
        authentic: folder of images that are known to be authentic.
        source: name of the data set in scores and reports; by default the manifest's name.
        split: train, val or test.
        val_share: fraction of the images that goes to val instead; images of one original photo stay together.
        mismatched: skip masks of a different size than their image, or resize them if the aspect ratio is the same.
        looseness: largest outward move of a side, as a fraction of the box's width or height.
        looseness_min: smallest outward move of a side; set it to looseness for boxes that are all equally loose.
        mode: region derives a box around each manipulated region, image one box around all of them.
        min_area: area of the smallest region that gets its own box, as a fraction of the image.
        seed: random seed for the looseness and the validation split.
        allow_incomplete: accept fewer images than the layout's data set is known to have.
        workers: number of processes; by default one per core, at most 8.
        overwrite: replace an existing manifest, or masks beside it, with different content.

    Returns:
        0, or 3 if files were skipped or the data set is incomplete.

    Raises:
        InputError: a folder does not exist, no image is usable, an argument is invalid, or a different manifest or mask
            exists.
    """
    if out.suffix.lower() != ".json":
        raise InputError(f"{out}: a manifest is a JSON file; use a name such as {out.name or 'set'}.json")
    drawing = Drawing(looseness, looseness_min, mode, min_area, seed)
    name = source or out.stem
    in_val(name, val_share, seed)  # fail early on an invalid fraction
    found, form, expected = _listing(layout, root, images, masks, authentic)
    treatment = Treatment(
        found.root, form, mismatched, out.with_name(f"{out.stem}-masks").resolve(), drawing, overwrite
    )
    with processes(workers or workers_for(len(found.images))) as parallel_map:
        examined = examine(found, treatment, parallel_map)
    examined.report()
    if not examined.usable:
        raise InputError(
            f"{found.root}: none of the {len(found.images)} images found can be used; fix the problems listed above"
        )
    records = [
        image.record(image_id, "val" if in_val(image.entry.group, val_share, seed) else split, name)
        for image_id, image in examined.usable.items()
    ]
    write_results({out: manifest_bytes(out, records, name, common_folder(records))}, overwrite)
    complete = examined.is_complete(expected)
    print(f"{out}: {examined.counts(expected)}")
    if not complete:
        print(f"{out}: the set is incomplete; see data/README.md for where to get the rest")
    return 3 if examined.set_aside or not (complete or allow_incomplete) else 0


def _listing(
    layout: LayoutName | None, root: Path | None, images: Path | None, masks: Path | None, authentic: Path | None
) -> tuple[Found, MaskForm, Expected]:
    """List the files of a layout, or of the separately given folders."""
    if layout is not None and root is not None and not (images or masks or authentic):
        return find_in(layout, root), LAYOUTS[layout].MASKS, LAYOUTS[layout].EXPECTED
    if layout is None and root is None and images is not None and masks is not None:
        given = [folder.resolve() for folder in (images, masks, authentic) if folder is not None]
        top = Path(os.path.commonpath(given))
        found = folders.listing(given[0], given[1], given[2] if authentic else None, top)
        return found, folders.MASKS, folders.EXPECTED
    raise InputError("pass either --layout and --root, or --images and --masks (and --authentic)")
