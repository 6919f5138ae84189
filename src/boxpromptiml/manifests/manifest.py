"""Manifests: COCO detection JSON that says which images there are and where their coarse boxes lie.

Beside COCO's own fields an image carries ``split``, ``source``, ``mask_file``, ``authentic`` and ``kind``. File names
are relative to the manifest's folder, or to ``info.image_root`` where that is given, and never leave it. Boxes that are
written here have category 1, "manipulated"; those of other tools may have any one category. `manifests.coco` reads the
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
from boxpromptiml.manifests.coco import BoxTable, Coco, CocoError, Image, box_table, read_coco, size_reason
from boxpromptiml.manifests.labels import open_question

CATEGORY: dict[str, str | int] = {"id": 1, "name": "manipulated"}


class ManifestError(InputError):
    """A manifest that cannot be used at all. Its text is one line that names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest holds.

    Attributes:
        path: the JSON file.
        root: the folder that file names count from.
        records: the usable images, in the manifest's order.
        set_aside: images that cannot be used, with the reason.
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
    """With what other tools want to read."""

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
    """Read and check a manifest. No image file is opened.

    Images with a defect of their own (a file name that leaves the folder, a box outside the image, neither a box nor
    ``authentic``) are skipped; boxes that reach over the border are cut to the image.

    Raises:
        ManifestError: the file is missing, is not such JSON, or holds an id twice; its boxes have several categories,
            or numbers that are no pixels; it lists images and nothing is labelled.
    """
    with _no_garbage_collection():
        coco, boxes = _parse(path)
        root = path.parent / coco.image_root
        coco.annotations.clear()
        coco.images.reverse()
        records: list[ImageRecord] = []
        set_aside: list[SetAside] = []
        while coco.images:
            image = coco.images.pop()  # so that its memory is free for its record
            place = len(records) + len(set_aside)
            own_boxes = boxes.of(place)
            if reason := _reason_against(image, len(own_boxes)) or boxes.defects.get(place):
                set_aside.append(SetAside(cast(int, image.id), image.file_name, reason))
            else:
                records.append(_record(image, own_boxes, root))
    return Manifest(path, root, records, set_aside)


def write_manifest(path: Path, records: Iterable[ImageRecord], description: str = "", root: Path | None = None) -> None:
    """Write records as COCO JSON, over what is there. The file appears whole or not at all. See `manifest_bytes`."""
    write_whole(path, manifest_bytes(path, records, description, root))


def manifest_bytes(
    path: Path, records: Iterable[ImageRecord], description: str = "", root: Path | None = None
) -> bytes:
    """Records as COCO JSON, as a manifest holds it.

    Args:
        path: where the JSON file will be.
        records: images and boxes.
        description: a line for people, stored in ``info``.
        root: folder that every file name is relative to; by default the manifest's own.

    Raises:
        ManifestError: a file lies outside the root, or has a name that `read_manifest` would refuse.
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
    """Whether a file name from a stranger is a relative path that cannot leave the folder it counts from.

    Colons are allowed (``shot 10:20:30.png``) but for Windows' drives and for addresses.
    """
    parts = name.replace("\\", "/").split("/")  # pathlib takes seconds for a million names
    forbidden = parts[0] == "" or ".." in parts or name[1:2] == ":" or "://" in name or "\0" in name
    return not forbidden and not {".", ""}.issuperset(parts)


def refuse_name(name: str) -> None:
    """Refuse the relative path of a file that a manifest cannot hold.

    Raises:
        ManifestError: `read_manifest` would refuse it, or it is no text that JSON can hold.
    """
    shown = name.encode("utf-8", "backslashreplace").decode()
    if shown != name or not stays_inside(name):
        raise ManifestError(f"{shown}: a manifest cannot hold this name; rename the file")


def _parse(path: Path) -> tuple[Coco, BoxTable]:
    try:
        coco = read_coco(path, "see data/README.md for the layout of a manifest")
        boxes = box_table(path, coco)
    except FileNotFoundError:
        raise ManifestError(
            f"{path}: no such manifest; make one with `boxpromptiml synthesize` or `boxpromptiml prepare`"
        ) from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error}); name a JSON file that you may read") from None
    except CocoError as error:
        raise ManifestError(str(error)) from None
    strange = next((i.id for i in coco.images if not isinstance(i.id, int) or abs(i.id) > LARGEST_ID), None)
    if strange is not None:
        raise ManifestError(
            f"{path}: image id {strange!r} is no whole number of 64 bits; `boxpromptiml import_boxes --format coco` "
            "numbers the images"
        )
    _refuse_open_questions(path, coco, boxes)
    return coco, boxes


def _refuse_open_questions(path: Path, coco: Coco, boxes: BoxTable) -> None:
    """Refuse what only the user can answer: which boxes count, in what unit, and what images without any are."""
    if question := open_question(coco.label_counts()):
        raise ManifestError(
            f"{path}: {question}; `boxpromptiml import_boxes --format coco --labels '[…]'` takes those that you name"
        )
    if boxes.foreign is not None:
        raise ManifestError(
            f"{path}: {boxes.foreign}; a manifest's boxes are x y width height in pixels, and `boxpromptiml "
            "import_boxes --format coco --units shares` converts shares"
        )
    if coco.images and not coco.annotations and not any(image.authentic is True for image in coco.images):
        raise ManifestError(
            f"{path}: none of its {len(coco.images):,} images has a box; if none of them is forged, say so with "
            "`boxpromptiml import_boxes --format coco --unboxed authentic`, else export them with their boxes"
        )


def _reason_against(image: Image, boxes: int) -> str | None:
    """Why an image with so many boxes cannot be used, or None."""
    for name in [image.file_name] if image.mask_file is None else [image.file_name, image.mask_file]:
        if not isinstance(name, str) or not stays_inside(name):
            return (
                f"the file name {name!r} is empty, an address, or leaves the data folder; use a path relative to it, "
                "without '..'"
            )
    if image.split not in (None, *get_args(Split)):
        return f"its split is {image.split!r}; write train, val or test"
    if image.authentic not in (None, True, False):
        return f"its authentic is {image.authentic!r}; write true or false"
    if reason := size_reason(image):
        return reason
    if not boxes and not image.authentic:
        return 'it has no box and is not marked authentic; draw a box or set "authentic": true'
    if boxes and image.authentic:
        return "it has a box and is marked authentic; remove one of the two"
    return None


def _record(image: Image, boxes_xyxy: Boxes, root: Path) -> ImageRecord:
    """The record of an image that nothing speaks against."""
    source, kind = (value if isinstance(value, str) else "" for value in (image.source, image.kind))
    return ImageRecord(
        image_id=cast(int, image.id),
        path=root / image.file_name,
        width=int(cast(float, image.width)),
        height=int(cast(float, image.height)),
        boxes_xyxy=boxes_xyxy,
        split=image.split or "train",
        source=sys.intern(source),  # one text for all images of a set
        mask_path=root / image.mask_file if image.mask_file else None,
        authentic=image.authentic is True,
        kind=sys.intern(kind) or None,
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collection would walk again and again through millions of new objects, none of which is garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _relative(path: Path, base: Path, folders: dict[str, str]) -> str:
    """A file's name relative to the base. Each folder is looked up once and kept in ``folders``."""
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder).rstrip(os.sep) + os.sep
    real = folders[folder] + name
    if os.path.islink(real):  # noqa: PTH114 - building a Path takes longer than all the rest
        real = os.path.realpath(real)
    inside = str(base).rstrip(os.sep) + os.sep
    if not real.startswith(inside):
        raise ManifestError(f"{path}: lies outside {base}; move it there or choose a folder above both")
    relative = real[len(inside) :].replace(os.sep, "/")
    refuse_name(relative)
    return relative
