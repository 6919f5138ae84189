"""Types of findings with their severity, and the report that contains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boxpromptiml.datasets.check.balance import Balance
from boxpromptiml.datasets.check.measure import Entry

SCHEMA = 1
"""Version of check.json. Within a version, fields and codes are only added."""
Severity = Literal["error", "warning", "note"]
Verdict = Literal["fit", "fit without some images", "not fit"]
EXIT_CODES: dict[Verdict, int] = {"fit": 0, "fit without some images": 3, "not fit": 4}


@dataclass(frozen=True, slots=True)
class Code:
    """Description of a finding's code.

    Attributes:
        severity: an ``error`` makes the data unfit, a ``warning`` excludes the image, a ``note`` has no effect.
        meaning: description.
        remedy: what to do about it.
    """

    severity: Severity
    meaning: str
    remedy: str


CODES = {
    "leak": Code(
        "error", "the same photo as in another split", "remove it, or keep all images of one photo in one split"
    ),
    "nothing_usable": Code(
        "error", "a split without a usable image", "repair the images that are skipped, or add others"
    ),
    "unusable_entry": Code("warning", "an entry of the manifest that cannot be used", "correct the manifest"),
    "missing_file": Code("warning", "the image file is missing", "restore it, or correct its name in the manifest"),
    "unreadable_file": Code("warning", "the image file cannot be read", "export it again, or restore it from a backup"),
    "size_mismatch": Code(
        "warning",
        "another size than in the manifest",
        "correct the manifest, and draw the boxes again if they were drawn at another size",
    ),
    "missing_mask": Code("warning", "the mask file is missing", "restore it, or set mask_file to null"),
    "unreadable_mask": Code("warning", "the mask file cannot be read", "export it again, or set mask_file to null"),
    "mask_size_mismatch": Code(
        "warning", "the mask has another size than its image", "export the mask at the image's size"
    ),
    "unclear_orientation": Code(
        "warning",
        "EXIF rotates the image, and perhaps its mask",
        "save both upright and without EXIF",
    ),
    "not_a_mask": Code(
        "warning",
        "the mask does not look like one: too dark, coloured, transparent, or a photo",
        "export it in black and white, with 255 for manipulated (1 of 255 is black)",
    ),
    "empty_mask": Code(
        "warning", "manipulated, but its mask is empty", "mark the image authentic, or give the right mask"
    ),
    "full_mask": Code(
        "warning", "the mask covers nearly the whole image", "invert it if black means manipulated in this set"
    ),
    "authentic_with_mask": Code(
        "warning", "authentic, but its mask shows a manipulation", "draw its boxes, or set mask_file to null"
    ),
    "outside_boxes": Code("warning", "manipulated pixels outside every box", "draw a box around each region"),
    "empty_box": Code("warning", "a box without a manipulated pixel", "draw the box again, or delete it"),
    "no_truth": Code("warning", "a manipulated test image without a mask", "add its mask, or move it to train"),
    "contradiction": Code("warning", "the same file is marked both authentic and manipulated", "keep the correct one"),
    "duplicate": Code("warning", "the same file as another image of its split", "keep one of them"),
    "near_duplicate": Code(
        "note", "the same photo as another image of its split", "keep one, unless they are different forgeries of it"
    ),
}
"""All codes, the most severe first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about an image or a split.

    Attributes:
        severity: severity that the code defines.
        code: key of `CODES`.
        manifest: manifest that lists the image; empty for a finding about a split.
        split: split of the image, or the split that the finding is about; empty if unknown.
        image_id: id of the image in the manifest; None for a finding about a split.
        file: the image.
        text: what was found.
        remedy: what to do.
        other: the image that this one duplicates, or an empty string.
    """

    severity: Severity
    code: str
    manifest: str
    split: str
    image_id: int | None
    file: str
    text: str
    remedy: str
    other: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds for findings; see the arguments of `check`."""

    outside: float
    full: float
    distance: int
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Content of check.json.

    Attributes:
        schema: version of this layout.
        version: version of the package that wrote it.
        verdict: whether the data is fit for training; determines the exit code.
        manifests: the checked manifests.
        limits: thresholds for findings.
        images: number of images in all manifests.
        counts: number of findings by code, without zeros.
        set_aside: ids of images with an error or a warning, by manifest.
        splits: statistics of the remaining images, by split.
        findings: the most severe first, then in the order of the manifests.
    """

    schema: int
    version: str
    verdict: Verdict
    manifests: list[str]
    limits: Limits
    images: int
    counts: dict[str, int]
    set_aside: dict[str, list[int]]
    splits: dict[str, Balance]
    findings: list[Finding]


def found(
    code: str,
    text: str,
    manifest: str = "",
    split: str = "",
    image_id: int | None = None,
    file: str = "",
    other: str = "",
) -> Finding:
    """Create a finding with the severity and the remedy of its code."""
    known = CODES[code]
    return Finding(known.severity, code, manifest, split, image_id, file, text, known.remedy, other)


def about(entry: Entry, code: str, text: str, other: str = "") -> Finding:
    """Create a finding about a measured image."""
    record = entry.record
    return found(code, text, str(entry.manifest), record.split, record.image_id, str(record.path), other)
