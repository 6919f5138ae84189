"""The command ``mixture``: one training manifest from several data sets, and a manifest for each test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from boxpromptiml.core.boxes_from_mask import BoxMode, Drawing
from boxpromptiml.core.limits import Count, Seed, Share, ShareBelowOne, within_limits
from boxpromptiml.core.records import ImageRecord, InputError, Split
from boxpromptiml.datasets.examine import ExaminedSet, Mismatched, Treatment, common_folder, examine, workers_for
from boxpromptiml.datasets.layout import Expected, Found, ListedImage
from boxpromptiml.datasets.layouts import LAYOUTS, LayoutName, find_in
from boxpromptiml.datasets.splits import draw_groups, in_val
from boxpromptiml.manifests.manifest import manifest_bytes
from boxpromptiml.runtime.processes import processes
from boxpromptiml.runtime.provenance import write_results

SPLITS: tuple[Split, ...] = ("train", "val", "test")
HEADER = ("set", "use", "distribution", "found", "expected", "train", "val", "test", "authentic", "skipped")


@dataclass(frozen=True)  # no slots, because jsonargparse reads defaults from __dict__
class SourceSet:
    """One data set of a mixture.

    Attributes:
        name: name of the data set in manifests, scores and reports.
        layout: its native layout.
        root: folder that it was unpacked to; for imdlbenco the JSON file.
        use: purpose of the data set: training, testing, or both with separate parts.
        distribution: whether a test set is in-distribution (in) or out-of-distribution (out).
        mismatched: skip masks of a different size than their image, or resize them if the aspect ratio is the same.
        test_images: number of manipulated images drawn for testing if use is both; by default that of the paper.
    """

    name: str
    layout: LayoutName
    root: Path
    use: Literal["train", "test", "both"]
    distribution: Literal["in", "out"] = "out"
    mismatched: Mismatched = "skip"
    test_images: int | None = None

    @property
    def expected(self) -> Expected:
        """Numbers of images in a complete data set of this layout."""
        return LAYOUTS[self.layout].EXPECTED


@dataclass(frozen=True, slots=True)
class _Part:
    """Results of one data set; empty if it is missing."""

    spec: SourceSet
    found: int = 0
    set_aside: int = 0
    records: Sequence[ImageRecord] = ()

    def manipulated(self, *splits: Split) -> int:
        return sum(record.split in splits and not record.authentic for record in self.records)


@within_limits
def mixture(
    sets: list[SourceSet],
    out: Path,
    val_share: ShareBelowOne = 0.05,
    looseness: Share = 0.15,
    looseness_min: Share = 0.0,
    mode: BoxMode = "region",
    min_area: ShareBelowOne = 0.0005,
    seed: Seed = 0,
    allow_incomplete: bool = False,
    workers: Count | None = None,
    overwrite: bool = False,
) -> int:
    """Create one training manifest from several data sets and a manifest for each test set, and print a summary.

    Writes test/NAME.json and manifest.json (train and val, with the data set of each image as its source), and
    masks/NAME/ if the data set's own masks are not white on black at their image's size. A data set with use both is
    split by original photo with a seeded random draw that yields the paper's number of test images. The paper does not
    publish which images it uses.

    Args:
        sets: the data sets, each with name, layout, root and use.
        out: folder to write into.
        val_share: fraction of the training images that goes to val; images of one original photo stay together.
        looseness: largest outward move of a side, as a fraction of the box's width or height.
        looseness_min: smallest outward move of a side; set it to looseness for boxes that are all equally loose.
        mode: region derives a box around each manipulated region, image one box around all of them.
        min_area: area of the smallest region that gets its own box, as a fraction of the image.
        seed: random seed for the test draw, the validation split and the looseness.
        allow_incomplete: continue without missing data sets, and accept data sets with fewer images than expected.
        workers: number of processes; by default one per core, at most 8.
        overwrite: replace existing manifests and masks with different content.

    Returns:
        0, or 3 if files were skipped or a data set is incomplete.

    Raises:
        InputError: a data set is missing, no image is usable, an argument is invalid, or a different manifest or mask
            exists.
    """
    drawing = Drawing(looseness, looseness_min, mode, min_area, seed)
    _check(sets, val_share, seed)
    listings = _listings(sets, allow_incomplete)
    parts: list[_Part] = []
    complete = True
    first_id = 1
    with processes(workers or workers_for(sum(len(found.images) for found in listings.values()))) as parallel_map:
        for spec in sets:
            found = listings.get(spec.name)
            if found is None:
                parts.append(_Part(spec))
                continue
            converted = (out / "masks" / spec.name).resolve()
            treatment = Treatment(
                found.root, LAYOUTS[spec.layout].MASKS, spec.mismatched, converted, drawing, overwrite
            )
            examined = examine(found, treatment, parallel_map, first_id)
            examined.report()
            enough = examined.is_complete(spec.expected)
            complete &= enough
            print(f"{spec.name}: {'' if enough else 'incomplete: '}{examined.counts(spec.expected)}")
            first_id += len(found.images)
            manipulated = sum(not isinstance(entry, ListedImage) or entry.mask is not None for entry in found.images)
            records = _records(spec, examined, val_share, seed)
            parts.append(_Part(spec, manipulated, len(examined.set_aside), records))
    if not any(part.records for part in parts):
        raise InputError(f"none of the {len(sets)} sets has a usable image; fix the problems listed above")
    write_results(_manifests(out, parts), overwrite)
    print(_table(parts))
    return 3 if any(part.set_aside for part in parts) or not (complete or allow_incomplete) else 0


def _check(sets: Sequence[SourceSet], val_share: ShareBelowOne, seed: int) -> None:
    in_val("", val_share, seed)  # fail early on an invalid fraction
    for name, count in Counter(spec.name for spec in sets).items():
        if count > 1 or Path(name).name != name:
            raise InputError(
                f"the name {name!r} is used twice or is not a file name; give each set a short, unique name"
            )
    for spec in sets:
        if spec.use == "both" and spec.test_images is None and spec.expected.test is None:
            raise InputError(
                f"{spec.name}: used for training and test; set test_images to the number of images to test on"
            )


def _listings(sets: Sequence[SourceSet], allow_incomplete: bool) -> dict[str, Found]:
    """List the files of all available data sets, by name, before any file is decoded."""
    listings: dict[str, Found] = {}
    missing: list[str] = []
    for spec in sets:
        try:
            listings[spec.name] = find_in(spec.layout, spec.root)
        except InputError as error:
            print(f"missing: {spec.name}: {error}")
            missing.append(spec.name)
    if (missing and not allow_incomplete) or not listings:
        raise InputError(
            f"{len(missing)} of {len(sets)} sets are missing ({', '.join(missing)}); see data/README.md for "
            "where to get them, or add --allow_incomplete to continue without them"
        )
    return listings


def _records(spec: SourceSet, examined: ExaminedSet, val_share: ShareBelowOne, seed: int) -> list[ImageRecord]:
    """Assign the usable images of a data set to splits."""
    tested: set[str] = set()
    if spec.use == "both":
        wanted = spec.expected.test if spec.test_images is None else spec.test_images
        tested = draw_groups((image.entry for image in examined.usable.values()), wanted or 0, seed)
    records = []
    for image_id, image in examined.usable.items():
        group = image.entry.group
        training: Split = "val" if in_val(group, val_share, seed) else "train"
        split: Split = "test" if spec.use == "test" or group in tested else training
        records.append(image.record(image_id, split, spec.name))
    return records


def _manifests(out: Path, parts: Sequence[_Part]) -> dict[Path, bytes]:
    """Encode the test manifests, then the training manifest, whose presence indicates that all are complete."""
    manifests: dict[Path, bytes] = {}
    for part in parts:
        tested = [record for record in part.records if record.split == "test"]
        if tested:
            path = out / "test" / f"{part.spec.name}.json"
            manifests[path] = manifest_bytes(path, tested, part.spec.name, common_folder(tested))
    trained = [record for part in parts for record in part.records if record.split != "test"]
    if trained:
        names = ", ".join(part.spec.name for part in parts if part.manipulated("train", "val"))
        path = out / "manifest.json"
        manifests[path] = manifest_bytes(path, trained, names, common_folder(trained))
    return manifests


def _table(parts: Sequence[_Part]) -> str:
    """Format a row for each data set and a line for each purpose: images found, expected and used."""
    rows = [HEADER, *(_row(part) for part in parts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    trained = [part for part in parts if part.spec.use != "test"]
    used = sum(part.manipulated("train", "val") for part in trained)
    lines.append(f"training: {used:,} of {sum(p.spec.expected.train or 0 for p in trained):,} manipulated images")
    for distribution, title in (("in", "in-distribution"), ("out", "out-of-distribution")):
        tested = [part for part in parts if part.spec.use != "train" and part.spec.distribution == distribution]
        used, expected = sum(p.manipulated("test") for p in tested), sum(p.spec.expected.test or 0 for p in tested)
        names = ", ".join(part.spec.name for part in tested) or "none"
        lines.append(f"{title} tests: {used:,} of {expected:,} manipulated images ({names})")
    return "\n".join(lines)


def _row(part: _Part) -> tuple[str, ...]:
    spec = part.spec
    return (
        spec.name,
        spec.use,
        "" if spec.use == "train" else spec.distribution,
        str(part.found) if part.found else "missing",
        "" if spec.expected.manipulated is None else str(spec.expected.manipulated),
        *(str(part.manipulated(split)) for split in SPLITS),
        str(sum(record.authentic for record in part.records)),
        str(part.set_aside),
    )
