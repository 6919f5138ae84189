"""Import of drawn boxes as a new manifest, or as replacement of an existing manifest's boxes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from tqdm import tqdm

from boxpromptiml.core import boxes as box_geometry
from boxpromptiml.core.boxes import Boxes
from boxpromptiml.core.limits import Seed, ShareBelowOne, within_limits
from boxpromptiml.core.records import ImageRecord, InputError, Split
from boxpromptiml.datasets.annotations import coco, label_studio, voc, yolo
from boxpromptiml.datasets.annotations.ambiguities import (
    cut_off,
    ignored_boxes,
    refuse_ambiguities,
    refuse_foreign_numbers,
    splits_without_boxes,
)
from boxpromptiml.datasets.annotations.drawn import AnnotationError, Drawings, DrawnImage
from boxpromptiml.datasets.annotations.matching import ImageFinder, Match
from boxpromptiml.datasets.splits import in_val
from boxpromptiml.images import list_images, read_size
from boxpromptiml.manifests.manifest import manifest_bytes, read_manifest, stays_inside
from boxpromptiml.runtime.provenance import write_results

Format = Literal["coco", "yolo", "voc", "label_studio"]
Unboxed = Literal["set_aside", "authentic"]
Units = Literal["pixels", "shares"]
READERS: dict[Format, Callable[[Path], Drawings]] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "voc": voc.read,
    "label_studio": label_studio.read,
}


@within_limits
def import_boxes(
    format: Format,
    annotations: Path,
    out: Path,
    images: Path | None = None,
    into: Path | None = None,
    labels: list[str] | None = None,
    unboxed: Unboxed = "set_aside",
    units: Units = "pixels",
    split: Split | None = None,
    source: str | None = None,
    val_share: ShareBelowOne = 0.0,
    seed: Seed = 0,
    overwrite: bool = False,
) -> int:
    """Create a manifest from boxes drawn with an annotation tool.

    Images are found by their relative path, or by their file name if it is unique; drives, URLs and %-escapes in the
    names are handled. Sizes are read from the image headers and compared with the annotations. Unusable images are
    listed and skipped; no image is copied or changed.

    Args:
        format: coco also reads CVAT's exports; label_studio reads its JSON and JSON-MIN.
        annotations: the JSON file (coco, label_studio), the data set's folder or its data.yaml (yolo), the folder above
            Annotations or a folder of XML files (voc).
        out: the manifest to write, a .json file.
        images: folder of the images; by default the one that the format defines, or the folder of the annotations.
        into: a manifest whose boxes are replaced, such as the one that they were exported from. Its image files are not
            needed; splits, sources, masks and kinds are kept. Images without annotations keep their boxes.
        labels: names of the categories whose boxes mean manipulated; required if the boxes have several.
        unboxed: what an image without boxes is. By default it is skipped, unless the annotations mark it as authentic,
            as an empty YOLO label file does if other label files are not empty.
        units: unit of the numbers in coco and voc; shares are relative to the image's width and height, from 0 to 1, as
            they always are in yolo and label_studio.
        split: train, val or test for every image; by default given by the layout, else train.
        source: name of the data set in scores and reports; by default given by the annotations, else the manifest's
            name.
        val_share: fraction of the train images that is moved to val, chosen by file name without suffix, so that images
            with the same name stay together.
        seed: random seed for that choice.
        overwrite: replace an existing file with different content.

    Returns:
        0, or 3 if images were skipped.

    Raises:
        InputError: the annotations cannot be read, no image is usable, arguments contradict each other, or a different
            file exists.
    """
    if out.suffix.lower() != ".json":
        raise InputError(f"{out}: a manifest is a JSON file; use a name such as {out.name or 'set'}.json")
    if into is not None and (images or split or source or val_share):
        raise InputError(
            "with --into, images, splits and sources come from that manifest; omit --images, --split, --source "
            "and --val_share"
        )
    if into is not None and into.resolve() == out.resolve():
        raise InputError(f"{out}: this is the manifest of --into; write to another file, so that nothing is lost")
    in_val("", val_share, seed)  # fail early on an invalid fraction
    drawings = READERS[format](annotations)
    if units == "shares":
        drawings = replace(drawings, images=[replace(image, shares=True) for image in drawings.images])
    refuse_ambiguities(annotations, drawings, labels, may_be_bare=unboxed == "authentic" or into is not None)
    set_aside = list(drawings.problems)
    cut: list[int] = []
    if into is None:
        folder = (images or drawings.folder).resolve()
        sized, found = _new_records(drawings.images, folder, labels, unboxed, split, source, set_aside, cut)
        records = [_completed(record, out.stem, val_share, seed) for record in found]
        kept = 0
    else:
        sized, folder, records, kept = _redrawn_records(drawings.images, into, labels, unboxed, set_aside, cut)
    refuse_foreign_numbers(annotations, sized)  # again, now with the image sizes that the annotations lack
    boxes = sum(len(record.boxes_xyxy) for record in records)
    for note in [
        *drawings.notes,
        *ignored_boxes(drawings.images, labels),
        *splits_without_boxes(drawings, records),
        *cut_off(sum(cut), boxes),
    ]:
        print(f"note: {note}")
    for reason in set_aside:
        print(f"skipped: {reason}")
    if len(records) == kept:
        raise InputError(f"{annotations}: none of its {len(drawings.images)} annotated images can be used; see above")
    paths = [path.resolve() for record in records for path in (record.path, record.mask_path) if path is not None]
    root = Path(os.path.commonpath([folder, *paths]))
    write_results({out: manifest_bytes(out, records, source or out.stem, root)}, overwrite)
    authentic = sum(record.authentic for record in records)
    as_before = f" ({kept} unchanged from {into})" if kept else ""
    print(f"{out}: {len(records)} images{as_before}, {boxes} boxes, {authentic} authentic, {len(set_aside)} skipped")
    splits = Counter(record.split for record in records)
    print(f"{out}: " + ", ".join(f"{splits[name]} {name}" for name in get_args(Split) if splits[name]))
    return 3 if set_aside else 0


def _new_records(
    drawn_images: Sequence[DrawnImage],
    folder: Path,
    labels: list[str] | None,
    unboxed: Unboxed,
    split: Split | None,
    source: str | None,
    set_aside: list[str],
    cut: list[int],
) -> tuple[list[DrawnImage], list[ImageRecord]]:
    """Return the annotated images with their sizes, and records of the usable ones.

    Appends a message to ``set_aside`` for every unusable image, and the number of clipped boxes of each image to
    ``cut``.
    """
    numbered = all(image.image_id is not None for image in drawn_images)
    matches = ImageFinder(folder, list_images(folder)).find_all([image.names for image in drawn_images])
    pairs = list(zip(drawn_images, matches, strict=True))
    records, sized = [], []
    for number, (drawn, match) in enumerate(tqdm(pairs, unit=" images"), start=1):
        try:
            path = _image_of(drawn, match)
            width, height = read_size(path)
            sized.append(replace(drawn, size=drawn.size or (width, height)))
            boxes = _boxes(drawn, labels, width, height, cut)
            if len(boxes) and drawn.authentic:
                raise AnnotationError("it has a box but is marked authentic; remove one of the two")
            if not len(boxes) and not drawn.authentic and unboxed == "set_aside":
                raise AnnotationError(
                    "it has no box; draw one, or use --unboxed authentic if such images are not forged"
                )
        except InputError as error:
            set_aside.append(f"{drawn.names[0]}: {error}")
            continue
        records.append(
            ImageRecord(
                image_id=drawn.image_id if numbered and drawn.image_id is not None else number,
                path=path,
                width=width,
                height=height,
                boxes_xyxy=boxes,
                split=split or drawn.split or "train",
                source=source or drawn.source or "",
                mask_path=_mask_of(drawn, folder),
                authentic=not len(boxes),
                kind=drawn.kind,
            )
        )
    return sized, records


def _completed(record: ImageRecord, source: str, val_share: float, seed: int) -> ImageRecord:
    """Return the record with its source filled in and moved to val if drawn."""
    to_val = record.split == "train" and in_val(record.path.stem, val_share, seed)
    return replace(record, source=record.source or source, split="val" if to_val else record.split)


def _redrawn_records(
    drawn_images: Sequence[DrawnImage],
    into: Path,
    labels: list[str] | None,
    unboxed: Unboxed,
    set_aside: list[str],
    cut: list[int],
) -> tuple[list[DrawnImage], Path, list[ImageRecord], int]:
    """Return annotated images with sizes, the manifest's folder, its records, and how many of them keep their boxes."""
    manifest = read_manifest(into)
    set_aside += [f"{into}: {aside.file}: {aside.reason}" for aside in manifest.set_aside]
    record_of = {record.path: record for record in manifest.records}
    if len(record_of) < len(manifest.records):
        raise InputError(f"{into}: lists an image file twice; run `boxpromptiml check` to find it")
    matches = ImageFinder(manifest.root, record_of).find_all([image.names for image in drawn_images])
    redrawn: dict[Path, ImageRecord] = {}
    left_out: set[Path] = set()
    sized: list[DrawnImage] = []
    for drawn, match in zip(drawn_images, matches, strict=True):
        try:
            record = record_of[_image_of(drawn, match)]
            sized.append(replace(drawn, size=drawn.size or (record.width, record.height)))
            boxes = _boxes(drawn, labels, record.width, record.height, cut)
            if len(boxes) and record.authentic:
                raise AnnotationError(f"it has a box but is marked authentic in {into}; remove one of the two")
            if not len(boxes) and not record.authentic and unboxed == "set_aside":
                raise AnnotationError(
                    "it has no box any more; draw one, or use --unboxed authentic if it is not forged"
                )
            redrawn[record.path] = replace(record, boxes_xyxy=boxes, authentic=not len(boxes))
        except InputError as error:
            set_aside.append(f"{drawn.names[0]}: {error}")
            if match.path is not None:
                left_out.add(match.path)
    records = [redrawn.get(path, record) for path, record in record_of.items() if path not in left_out]
    return sized, manifest.root.resolve(), records, len(records) - len(redrawn)


def _image_of(drawn: DrawnImage, match: Match) -> Path:
    """Return the image file of an annotated image.

    Raises:
        AnnotationError: it was not found, or its annotations are unusable.
    """
    if drawn.defect is not None:
        raise AnnotationError(drawn.defect)
    if not any(drawn.names):
        raise AnnotationError("an image has no name; add its file name")
    if match.path is None or match.reason is not None:
        raise AnnotationError(match.reason or "no such image")
    return match.path


def _boxes(drawn: DrawnImage, labels: list[str] | None, width: int, height: int, cut: list[int]) -> Boxes:
    """Return (N, 4) boxes (XYXY) in pixels with one of the labels, clipped to the image.

    Raises:
        AnnotationError: a box is unusable, or was drawn on an image of a different size.
    """
    if drawn.size is not None and drawn.size != (width, height):
        turned = " (swapped, as by a tool that ignores EXIF)" if drawn.size == (height, width) else ""
        drawn_on = f"{drawn.size[0]}×{drawn.size[1]} pixels{turned}"
        raise AnnotationError(
            f"its boxes were drawn on {drawn_on}, but the image has {width}×{height}; restore the image that was "
            "annotated, or annotate this one"
        )
    rows = []
    for box in drawn.boxes:
        if labels is None or not set(labels).isdisjoint(box.labels):
            if isinstance(box.corners, str):
                raise AnnotationError(box.corners)
            rows.append(box.corners)
    corners = np.array(rows, float).reshape(-1, 4)
    if drawn.shares:
        corners *= (width, height, width, height)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are reported as defects
        boxes = box_geometry.as_boxes(corners.astype(np.float32))
    for box_xyxy in boxes:
        if reason := box_geometry.defect(box_xyxy, width, height):
            raise AnnotationError(f"it has {reason}; draw it again")
    inside = box_geometry.clip(boxes, width, height)
    cut.append(int((abs(boxes - inside) > 1).any(1).sum()))
    return inside


def _mask_of(drawn: DrawnImage, folder: Path) -> Path | None:
    """Return the mask named by our own COCO export, if the file exists; other tools may use the field differently."""
    if drawn.mask_file is None or not stays_inside(drawn.mask_file) or not (folder / drawn.mask_file).is_file():
        return None
    return folder / drawn.mask_file
