"""Export of a manifest's boxes to annotation tools and detector training."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.annotations import coco, label_studio, voc, yolo
from boxpromptiml.datasets.annotations.import_boxes import Format
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.runtime.provenance import json_bytes, write_results


def export_boxes(
    manifest: Path,
    format: Format,
    out: Path,
    label: str = "manipulated",
    prelabels: bool = True,
    image_address: str | None = None,
    copy_images: bool = False,
    overwrite: bool = False,
) -> int:
    """Export a manifest's images and boxes for an annotation tool or for training a detector.

    Corrected boxes are imported with boxpromptiml import_boxes --into, which keeps all other fields of the manifest.

    Args:
        manifest: the manifest to export.
        format: CVAT imports coco; label_studio creates tasks to import there.
        out: a .json file (coco, label_studio) or a folder (yolo, voc).
        label: category name of the boxes.
        prelabels: label_studio only. True writes predictions that annotators correct and submit, False writes finished
            annotations.
        image_address: label_studio only. Prefix of each image's path in its URL; by default that of local storage with
            the folder above the manifest's images as document root.
        copy_images: yolo and voc only. True copies the images into the new folder, False creates links.
        overwrite: replace an existing file or export with different content.

    Returns:
        0, or 3 if images were skipped.

    Raises:
        InputError: the manifest cannot be read, or a different file or folder exists.
    """
    if format in ("coco", "label_studio") and out.suffix.lower() != ".json":
        raise InputError(f"{out}: this format writes one JSON file; use a name such as {out.name or 'boxes'}.json")
    found = read_manifest(manifest)
    if not found.records:
        raise InputError(f"{manifest}: no usable image; run `boxpromptiml check` to see why")
    set_aside = [f"{aside.file}: {aside.reason}" for aside in found.set_aside]
    written = len(found.records)
    if format == "coco":
        write_results({out: json_bytes(coco.exported(found.records, found.root, label))}, overwrite)
    elif format == "label_studio":
        root = found.root.resolve()
        address = f"/data/local-files/?d={quote(root.name)}/" if image_address is None else image_address
        tasks = label_studio.exported(found.records, found.root, label, address, prelabels)
        write_results({out: json_bytes(tasks)}, overwrite)
        print(f"labelling configuration: {label_studio.CONFIG.format(label=quoteattr(label))}")
        if image_address is None:
            print(
                f"start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
                f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root.parent} and add {root} as local storage"
            )
    else:
        write_folder = yolo.write if format == "yolo" else voc.write
        missing = write_folder(out, found.records, found.root, label, copy_images, overwrite)
        set_aside += missing
        written -= len(missing)
    for reason in set_aside:
        print(f"skipped: {reason}")
    print(f"{out}: {written} images, {len(set_aside)} skipped")
    return 3 if set_aside else 0
