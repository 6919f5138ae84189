"""The command ``redraw``: new boxes for an existing manifest, derived from its ground truth."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from boxpromptiml.core.boxes import Boxes
from boxpromptiml.core.boxes_from_mask import BoxMode, Drawing
from boxpromptiml.core.limits import Count, Seed, Share, ShareBelowOne, within_limits
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.datasets.examine import common_folder, workers_for
from boxpromptiml.images import ImageError, read_record
from boxpromptiml.manifests.manifest import manifest_bytes, read_manifest
from boxpromptiml.runtime.processes import processes
from boxpromptiml.runtime.provenance import write_results


@within_limits
def redraw(
    manifest: Path,
    out: Path,
    looseness: Share = 0.15,
    looseness_min: Share = 0.0,
    mode: BoxMode = "region",
    min_area: ShareBelowOne = 0.0005,
    seed: Seed = 0,
    workers: Count | None = None,
    overwrite: bool = False,
) -> int:
    """Create a manifest with the same images and new boxes, to study the effect of coarser or tighter boxes.

    Boxes are derived from the ground-truth masks. With the same arguments they equal those of prepare.

    Args:
        manifest: COCO JSON whose images have mask_file.
        out: the manifest to write, a .json file.
        looseness: largest outward move of a side, as a fraction of the box's width or height; 0 for tight boxes.
        looseness_min: smallest outward move of a side; set it to looseness for boxes that are all equally loose.
        mode: region derives a box around each manipulated region, image one box around all of them.
        min_area: area of the smallest region that gets its own box, as a fraction of the image.
        seed: random seed for the looseness.
        workers: number of processes; by default one per core, at most 8.
        overwrite: replace an existing file with different content.

    Returns:
        0, or 3 if images were skipped because they have no usable ground truth.

    Raises:
        InputError: the manifest cannot be used, an argument is invalid, or a different file exists.
    """
    if out.suffix.lower() != ".json" or out.resolve() == manifest.resolve():
        raise InputError(f"{out}: choose another .json file, so that the old boxes are kept")
    drawing = Drawing(looseness, looseness_min, mode, min_area, seed)
    read = read_manifest(manifest)
    set_aside = [f"{aside.file}: {aside.reason}" for aside in read.set_aside]
    records: list[ImageRecord] = []
    with processes(workers or workers_for(len(read.records))) as parallel_map:
        drawn = parallel_map(partial(_boxes, drawing), read.records, "images")
        for record, boxes in zip(read.records, drawn, strict=True):
            if isinstance(boxes, str):
                set_aside.append(boxes)
            else:
                records.append(replace(record, boxes_xyxy=boxes))
    for reason in set_aside:
        print(f"skipped: {reason}")
    if not records:
        raise InputError(f"{manifest}: no image has ground truth to draw boxes from; add mask_file to its images")
    words = f"{manifest.name} with redrawn boxes"
    write_results({out: manifest_bytes(out, records, words, common_folder(records))}, overwrite)
    count = sum(len(record.boxes_xyxy) for record in records)
    print(f"{out}: {len(records)} images, {count} redrawn boxes, {len(set_aside)} images skipped")
    return 3 if set_aside else 0


def _boxes(drawing: Drawing, record: ImageRecord) -> Boxes | str:
    """Derive the boxes of one image; a string is the reason why that is impossible."""
    if record.authentic:
        return record.boxes_xyxy
    if record.mask_path is None:
        return f"{record.path}: no mask_file to draw boxes from; add one, or leave the image out"
    try:
        _, mask = read_record(record)
    except ImageError as error:
        return str(error)
    assert mask is not None  # because mask_path is not None
    return drawing.boxes(mask, record.path)
