"""Write the manifest of a data set: its files as they are, coarse boxes drawn from its masks as a person would."""

from __future__ import annotations

import os
from pathlib import Path

from boxpromptiml.core.boxes import BoxMode
from boxpromptiml.core.limits import Count, Seed, Share, ShareBelowOne, within_limits
from boxpromptiml.core.records import InputError, Split
from boxpromptiml.datasets.boxes_from_masks import Drawing
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
    """Write a manifest with coarse boxes for a data set: in its native layout, or a folder of images and one of masks.

    Images and masks are paired by name, never by order. Every file is decoded once; those that cannot be used are
    listed and left out. Nothing in the data set is copied or changed; masks that are not white on black at their
    image's size are written anew beside the manifest, into a folder named after it with -masks.

    Args:
        out: the manifest to write, a .json file.
        layout: native layout of the set; data/README.md shows each one's folders.
        root: folder that the set was unpacked to; for imdlbenco the JSON file.
        images: instead of layout and root, a folder of manipulated images, searched with its subfolders.
        masks: folder of their masks, white = manipulated: photo.jpg goes with photo.png, photo_gt.png or
            photo_mask.png; it may be the same folder.
        authentic: folder of images that are known to be authentic.
        source: name of the set in scores and reports; by default the manifest's name.
        split: train, val or test.
        val_share: share of the images that go to val instead; images of one original photo stay together.
        mismatched: masks of another size than their image are skipped, or resized where the shape is the same.
        looseness: largest outward move of a box's side, as a share of the box.
        looseness_min: smallest outward move of a side; equal to looseness for boxes that are all equally loose.
        mode: region draws one box around each manipulated region, image one box around all of them.
        min_area: smallest region that gets a box of its own, as a share of the image.
        seed: of the looseness and of the validation share.
        allow_incomplete: accept fewer images than the layout's set is known to have.
        workers: number of processes; by default one for each core, at most 8.
        overwrite: replace the manifest, or masks beside it, that are there with other content.

    Returns:
        0, or 3 when files were skipped or the set is incomplete.

    Raises:
        InputError: a folder does not exist, no image can be used, an argument has no meaning, or another manifest or
            mask is in the way.
    """
    if out.suffix.lower() != ".json":
        raise InputError(f"{out}: a manifest is a JSON file; give it a name such as {out.name or 'set'}.json")
    drawing = Drawing(looseness, looseness_min, mode, min_area, seed)
    name = source or out.stem
    in_val(name, val_share, seed)  # refuses a share without meaning before any work
    found, form, expected = _listing(layout, root, images, masks, authentic)
    treatment = Treatment(
        found.root, form, mismatched, out.with_name(f"{out.stem}-masks").resolve(), drawing, overwrite
    )
    with processes(workers or workers_for(len(found.images))) as spread:
        examined = examine(found, treatment, spread)
    examined.report()
    if not examined.usable:
        raise InputError(
            f"{found.root}: {len(found.images)} images found and none that can be used; correct what is said above"
        )
    records = [
        image.record(image_id, "val" if in_val(image.entry.group, val_share, seed) else split, name)
        for image_id, image in examined.usable.items()
    ]
    write_results({out: manifest_bytes(out, records, name, common_folder(records))}, overwrite)
    complete = examined.is_complete(expected)
    print(f"{out}: {examined.counts(expected)}")
    if not complete:
        print(f"{out}: the set is incomplete; data/README.md says where to get the rest")
    return 3 if examined.set_aside or not (complete or allow_incomplete) else 0


def _listing(
    layout: LayoutName | None, root: Path | None, images: Path | None, masks: Path | None, authentic: Path | None
) -> tuple[Found, MaskForm, Expected]:
    """The files of a layout, or those of single folders."""
    if layout is not None and root is not None and not (images or masks or authentic):
        return find_in(layout, root), LAYOUTS[layout].MASKS, LAYOUTS[layout].EXPECTED
    if layout is None and root is None and images is not None and masks is not None:
        given = [folder.resolve() for folder in (images, masks, authentic) if folder is not None]
        top = Path(os.path.commonpath(given))
        found = folders.listing(given[0], given[1], given[2] if authentic else None, top)
        return found, folders.MASKS, folders.EXPECTED
    raise InputError("say where the set is: either --layout and --root, or --images and --masks (and --authentic)")
