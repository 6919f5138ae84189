"""The command ``boxpromptiml check``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from boxpromptiml.core.limits import Count, HashDistance, Share, Whole, within_limits
from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.check.assess import assess
from boxpromptiml.datasets.check.findings import CODES, EXIT_CODES, Limits, Report
from boxpromptiml.datasets.check.measure import Entry, measure
from boxpromptiml.datasets.check.sheet import draw_sheet
from boxpromptiml.images import beside, named
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.runtime.processes import processes
from boxpromptiml.runtime.provenance import write_json
from boxpromptiml.runtime.run_folder import relative_to, run_folder

SETTINGS = "check.settings.json"
RESULTS = ("check.json", "check.png")


@within_limits
def check(
    manifest: Path | list[Path],
    out: Path | None = None,
    outside: Share = 0.1,
    full: Share = 0.9,
    distance: HashDistance = 14,
    mirrored: bool = True,
    shown: Whole = 6,
    workers: Count | None = None,
    overwrite: bool = False,
) -> int:
    """Check whether a data set is fit for training, and list its problems.

    Decodes every image and mask once. Finds missing and unreadable files, wrong sizes, boxes that do not match masks,
    empty and nearly full masks, duplicates, and photos that occur in two splits, including compressed, resized,
    slightly cropped or mirrored copies and authentic twins of a forgery. Prints a summary and writes check.json (all
    findings, statistics of each split) and check.png (pictures of the findings).

    Args:
        manifest: a manifest, or a list such as [train.json, test.json], whose manifests are also checked against each
            other.
        out: folder for check.json and check.png; by default set-check beside set.json, the first manifest.
        outside: largest fraction of the manipulated pixels that may lie outside all boxes.
        full: fraction of the image from which on a mask is reported as nearly full.
        distance: number of differing bits, of 64, up to which two perceptual hashes are compared further. A larger
            value finds more strongly cropped copies and larger forgeries, and takes longer.
        mirrored: also find mirrored copies.
        shown: maximum number of pictures per kind of finding in check.png.
        workers: number of processes; by default one per core, at most 8.
        overwrite: replace results of other manifests or settings in the folder. Repeating a check of the same manifests
            does not need it, even if their content has changed.

    Returns:
        0 if the data is fit for training, 3 if it is fit without the listed images, 4 if it is not: a photo is in two
        splits, or a split has no usable image.

    Raises:
        InputError: a manifest cannot be read or lists no images, an argument is invalid, or the folder holds other
            results or is in use.
    """
    limits = Limits(outside, full, distance, mirrored)
    paths = list(dict.fromkeys(manifest if isinstance(manifest, list) else [manifest]))
    manifests = [read_manifest(path) for path in paths]
    if not any(found.records or found.set_aside for found in manifests):
        raise InputError(f"{', '.join(map(str, paths))}: no image is listed; pass a manifest with images")
    folder = out or paths[0].with_name(f"{paths[0].stem}-check")
    settings = {"manifests": [relative_to(path, folder) for path in paths], **asdict(limits), "shown": shown}
    with run_folder(folder, SETTINGS, settings, RESULTS, overwrite):
        with processes(workers or min(8, os.cpu_count() or 1)) as parallel_map:
            listed = [(found.path, record) for found in manifests for record in found.records]
            facts = parallel_map(measure, [record for _, record in listed], "images")
            entries = [Entry(path, record, seen) for (path, record), seen in zip(listed, facts, strict=True)]
        report = assess(manifests, entries, limits)
        write_json(folder / "check.json", asdict(report))
        draw_sheet(report, entries, shown, folder / "check.png")
    _print(report, folder)
    files = [file for _, record in listed for file in (record.path, record.mask_path) if file is not None]
    if others := named(beside([*files, *paths])):
        print(f"ignored files beside the listed ones: {others}")
    return EXIT_CODES[report.verdict]


def _print(report: Report, folder: Path) -> None:
    for split, images in report.splits.items():
        print(
            f"{split}: {images.manipulated:,} manipulated, {images.with_truth:,} of them with a mask; "
            f"{images.authentic:,} authentic, {images.twins:,} of them beside their forgery"
        )
    for code, count in report.counts.items():
        known = CODES[code]
        print(f"{known.severity:<7} {count:6,} × {code}: {known.meaning}; {known.remedy}")
    aside = sum(len(ids) for ids in report.set_aside.values())
    print(f"{report.verdict}: {report.images:,} images, {aside:,} to skip; {folder / 'check.json'} and check.png")
