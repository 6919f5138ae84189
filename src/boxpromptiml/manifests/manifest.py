"""Manifests: COCO detection JSON that lists images and their coarse boxes.

In addition to COCO's fields, images have ``split``, ``source``, ``mask_file``, ``authentic`` and ``kind``. File names
are relative to the manifest's folder, or to ``info.image_root`` if given, and cannot leave it. Boxes written by this
package have category 1, "manipulated"; files from other tools may use any single category. `manifests.coco` parses the
file.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import msgspec

from boxpromptiml.core import boxes as box_geometry
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.boxes import Boxes
from boxpromptiml.core.records import LARGEST_ID, ImageRecord, InputError, SetAside, Split
from boxpromptiml.manifests.coco import (
    BoxTable,
    Coco,
    CocoError,
    Image,
    authentic_reason,
    box_table,
    read_coco,
    size_reason,
)
from boxpromptiml.manifests.labels import label_ambiguity

CATEGORY: dict[str, str | int] = {"id": 1, "name": "manipulated"}


class ManifestError(InputError):
    """A manifest cannot be used at all. The message is one line that names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of a manifest.

    Attributes:
        path: the JSON file.
        root: folder that file names are relative to.
        records: usable images, in the manifest's order.
        set_aside: skipped images, with the reason.
    """

    path: Path
    root: Path
    records: list[ImageRecord]
    set_aside: list[SetAside]


class _WrittenImage(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int
    split: Split
    source: str
    mask_file: str | None
    authentic: bool
    kind: str | None


class _WrittenAnnotation(msgspec.Struct, gc=False):
    """A box, with the fields that other tools expect."""

    id: int
    image_id: int
    bbox: tuple[float, float, float, float]
    category_id: int = 1
    area: float = 0.0
    iscrowd: int = 0


class _Info(msgspec.Struct, omit_defaults=True):
    description: str = ""
    image_root: str = ""


class _Written(msgspec.Struct):
    images: list[_WrittenImage]
    annotations: list[_WrittenAnnotation]
    info: _Info
    categories: list[dict[str, str | int]] = msgspec.field(default_factory=lambda: [dict(CATEGORY)])


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest without opening any image.

    Images with a defect (a file name that leaves the folder, a box outside the image, neither a box nor ``authentic``)
    are skipped; boxes that exceed the image are clipped.

    Raises:
        ManifestError: the file is missing, not valid COCO, or repeats an id; its boxes have several categories or are
            not in pixels; or no image has a box and none is marked as authentic.
    """
    with _no_garbage_collection():
        coco, boxes = _parse(path)
        root = path.parent / coco.image_root
        coco.annotations.clear()
        coco.images.reverse()
        records: list[ImageRecord] = []
        set_aside: list[SetAside] = []
        while coco.images:
            image = coco.images.pop()  # frees its memory for the record
            place = len(records) + len(set_aside)
            own_boxes = boxes.of(place)
            if reason := _reason_against(image, len(own_boxes)) or boxes.defects.get(place):
                set_aside.append(SetAside(cast(int, image.id), image.file_name, reason))
            else:
                records.append(_record(image, own_boxes, root))
    return Manifest(path, root, records, set_aside)


def write_manifest(path: Path, records: Iterable[ImageRecord], description: str = "", root: Path | None = None) -> None:
    """Write records as COCO JSON atomically, replacing an existing file. See `manifest_bytes`."""
    write_whole(path, manifest_bytes(path, records, description, root))


def manifest_bytes(
    path: Path, records: Iterable[ImageRecord], description: str = "", root: Path | None = None
) -> bytes:
    """Encode records as a manifest.

    Args:
        path: where the file will be written; determines relative paths.
        records: images and boxes.
        description: human-readable text, stored in ``info``.
        root: folder that file names are relative to; by default the manifest's own.

    Raises:
        ManifestError: a file lies outside the root, or has a name that `read_manifest` would reject.
    """
    base = (root or path.parent).resolve()
    folders: dict[str, str] = {}
    images: list[_WrittenImage] = []
    annotations: list[_WrittenAnnotation] = []
    for record in records:
        images.append(
            _WrittenImage(
                id=record.image_id,
                file_name=_relative(record.path, base, folders),
                width=record.width,
                height=record.height,
                split=record.split,
                source=record.source,
                mask_file=None if record.mask_path is None else _relative(record.mask_path, base, folders),
                authentic=record.authentic,
                kind=record.kind,
            )
        )
        for x, y, w, h in box_geometry.xyxy_to_xywh(record.boxes_xyxy).astype(float).round(3).tolist():
            annotations.append(_WrittenAnnotation(len(annotations) + 1, record.image_id, (x, y, w, h), area=w * h))
    image_root = "" if root is None else os.path.relpath(base, path.parent.resolve())
    coco = _Written(images, annotations, _Info(description, image_root))
    return msgspec.json.format(msgspec.json.encode(coco), indent=1) + b"\n"


def stays_inside(name: str) -> bool:
    """Return whether an untrusted file name is a relative path that cannot leave its folder.

    Colons are allowed (``shot 10:20:30.png``), except in Windows drives and URLs.
    """
    parts = name.replace("\\", "/").split("/")  # pathlib takes seconds for a million names
    forbidden = parts[0] == "" or ".." in parts or name[1:2] == ":" or "://" in name or "\0" in name
    return not forbidden and not {".", ""}.issuperset(parts)


def refuse_name(name: str) -> None:
    """Reject a relative path that a manifest cannot hold.

    Raises:
        ManifestError: `read_manifest` would reject the path, or it is not valid Unicode.
    """
    shown = name.encode("utf-8", "backslashreplace").decode()
    if shown != name or not stays_inside(name):
        raise ManifestError(f"{shown}: this name cannot be stored in a manifest; rename the file")


def _parse(path: Path) -> tuple[Coco, BoxTable]:
    try:
        coco = read_coco(path, "see data/README.md for the layout of a manifest")
        boxes = box_table(path, coco)
    except FileNotFoundError:
        raise ManifestError(
            f"{path}: no such manifest; make one with `boxpromptiml synthesize` or `boxpromptiml prepare`"
        ) from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error}); pass a JSON file that you can read") from None
    except CocoError as error:
        raise ManifestError(str(error)) from None
    strange = next((i.id for i in coco.images if not isinstance(i.id, int) or abs(i.id) > LARGEST_ID), None)
    if strange is not None:
        raise ManifestError(
            f"{path}: image id {strange!r} is not a 64-bit integer; `boxpromptiml import_boxes --format coco` "
            "assigns new ids"
        )
    _refuse_open_questions(path, coco, boxes)
    return coco, boxes


def _refuse_open_questions(path: Path, coco: Coco, boxes: BoxTable) -> None:
    """Reject ambiguous manifests: which boxes count, in which unit, whether images without boxes are authentic."""
    if question := label_ambiguity(coco.label_counts()):
        raise ManifestError(
            f"{path}: {question}; select those that do with `boxpromptiml import_boxes --format coco --labels '[…]'`"
        )
    if boxes.foreign is not None:
        raise ManifestError(
            f"{path}: {boxes.foreign}; a manifest's boxes are x y width height in pixels, and `boxpromptiml "
            "import_boxes --format coco --units shares` converts shares"
        )
    if coco.images and not coco.annotations and not any(image.authentic is True for image in coco.images):
        raise ManifestError(
            f"{path}: none of its {len(coco.images):,} images has a box; if none of them is forged, use "
            "`boxpromptiml import_boxes --format coco --unboxed authentic`; otherwise export them with their "
            "boxes"
        )


def _reason_against(image: Image, boxes: int) -> str | None:
    """Return why an image with this number of boxes is unusable, or None."""
    for name in [image.file_name] if image.mask_file is None else [image.file_name, image.mask_file]:
        if not isinstance(name, str) or not stays_inside(name):
            return (
                f"the file name {name!r} is empty, an address, or leaves the data folder; use a path relative to it, "
                "without '..'"
            )
    if image.split not in (None, *get_args(Split)):
        return f"its split is {image.split!r}; write train, val or test"
    if reason := authentic_reason(image):
        return reason
    for name, text in (("source", image.source), ("kind", image.kind)):
        if not isinstance(text, str | None):
            return f"its {name} is {text!r}; write a text in quotes"
    if reason := size_reason(image):
        return reason
    if not boxes and not image.authentic:
        return 'it has no box and is not marked authentic; draw a box or set "authentic": true'
    if boxes and image.authentic:
        return "it has a box but is marked authentic; remove one of the two"
    return None


def _record(image: Image, boxes_xyxy: Boxes, root: Path) -> ImageRecord:
    """Convert a checked image to a record."""
    source, kind = image.source or "", image.kind or ""
    return ImageRecord(
        image_id=cast(int, image.id),
        path=root / image.file_name,
        width=int(cast(float, image.width)),
        height=int(cast(float, image.height)),
        boxes_xyxy=boxes_xyxy,
        split=image.split or "train",
        source=sys.intern(source),  # one string object for all images of a set
        mask_path=root / image.mask_file if image.mask_file else None,
        authentic=image.authentic is True,
        kind=sys.intern(kind) or None,
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pause garbage collection, which would repeatedly traverse millions of new objects without finding garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _relative(path: Path, base: Path, folders: dict[str, str]) -> str:
    """Return a file's path relative to the base. Resolved folders are cached in ``folders``."""
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder).rstrip(os.sep) + os.sep
    real = folders[folder] + name
    if os.path.islink(real):  # noqa: PTH114 - building a Path would dominate the run time
        real = os.path.realpath(real)
    inside = str(base).rstrip(os.sep) + os.sep
    if not real.startswith(inside):
        raise ManifestError(f"{path}: lies outside {base}; move it there or choose a parent folder of both")
    relative = real[len(inside) :].replace(os.sep, "/")
    refuse_name(relative)
    return relative
