"""Manifests: COCO detection JSON that says which images there are and where their coarse boxes lie.

Beside COCO's own fields an image carries ``split``, ``source``, ``mask_file``, ``authentic`` and ``kind``. File names
are relative to the manifest's folder, or to ``info.image_root`` where that is given, and never leave it. All boxes
have category 1, "manipulated". The file is parsed and typed by msgspec, whose messages name the place of a mistake.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from boxpromptiml import boxes as box_geometry
from boxpromptiml.boxes import Boxes
from boxpromptiml.provenance import write_whole
from boxpromptiml.records import ImageRecord, InputError, SetAside

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


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int
    split: Literal["train", "val", "test"] = "train"
    source: str = ""
    mask_file: str | None = None
    authentic: bool = False
    kind: str | None = None


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    bbox: tuple[float, float, float, float]


class _WrittenAnnotation(_Annotation, gc=False):
    """With what other tools want to read. Nothing here does, and a million of each would be a burden."""

    category_id: int = 1
    area: float = 0.0
    iscrowd: int = 0


class _Info(msgspec.Struct, omit_defaults=True):
    description: str = ""
    image_root: str = ""


class _Coco(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    info: _Info = msgspec.field(default_factory=_Info)
    categories: list[dict[str, str | int]] = msgspec.field(default_factory=lambda: [dict(CATEGORY)])


@dataclass(frozen=True, slots=True)
class _Boxes:
    """The boxes of all images in one array, which is checked at once.

    Attributes:
        inside: (N, 4) float32 corner boxes cut to their images, in the order of the images.
        first: for each image the row of its first box, and N at the end.
        defects: by place of the image, what is wrong with its first unusable box.
    """

    inside: Boxes
    first: list[int]
    defects: dict[int, str]


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest. No image file is opened.

    Images with a defect of their own (a file name that leaves the folder, a box outside the image, neither a box nor
    ``authentic``) are set aside; boxes that reach over the border are cut to the image.

    Raises:
        ManifestError: the file is missing, is not such JSON, or holds an id twice.
    """
    with _no_garbage_collection():
        coco = _parse(path)
        root = path.parent / coco.info.image_root
        boxes = _boxes_by_image(path, coco)
        coco.annotations.clear()
        coco.images.reverse()
        records: list[ImageRecord] = []
        set_aside: list[SetAside] = []
        while coco.images:
            image = coco.images.pop()  # so that its memory is free for its record
            place = len(records) + len(set_aside)
            own_boxes = boxes.inside[boxes.first[place] : boxes.first[place + 1]]
            if reason := _reason_against(image, len(own_boxes)) or boxes.defects.get(place):
                set_aside.append(SetAside(image.id, image.file_name, reason))
            else:
                records.append(_record(image, own_boxes, root))
    return Manifest(path, root, records, set_aside)


def write_manifest(path: Path, records: Iterable[ImageRecord], description: str = "", root: Path | None = None) -> None:
    """Write records as COCO JSON. The file appears whole or not at all.

    Args:
        path: the JSON file; its folder is made.
        records: images and boxes.
        description: a line for people, stored in ``info``.
        root: folder that every file name is relative to; by default the manifest's own.

    Raises:
        ManifestError: a file lies outside the root.
    """
    base = (root or path.parent).resolve()
    folders: dict[str, str] = {}
    images: list[_Image] = []
    annotations: list[_Annotation] = []
    for record in records:
        images.append(
            _Image(
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
    coco = _Coco(images, annotations, _Info(description, image_root))
    write_whole(path, msgspec.json.format(msgspec.json.encode(coco), indent=1) + b"\n")


def stays_inside(name: str) -> bool:
    """Whether a file name from a stranger is a relative path that cannot leave the folder it counts from."""
    parts = name.replace("\\", "/").split("/")  # pathlib takes seconds for a million names
    forbidden = parts[0] == "" or ".." in parts or ":" in name or "\0" in name
    return not forbidden and not {".", ""}.issuperset(parts)


def _parse(path: Path) -> _Coco:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Coco)
    except FileNotFoundError:
        raise ManifestError(
            f"{path}: no such manifest; make one with `boxpromptiml synthesize` or `boxpromptiml prepare`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read ({error}); name a JSON file that you may read") from None
    except msgspec.DecodeError as error:  # malformed JSON and wrong types alike
        raise ManifestError(f"{path}: not a COCO manifest: {error}; see data/README.md for the layout") from None


def _boxes_by_image(path: Path, coco: _Coco) -> _Boxes:
    place_of = {image.id: place for place, image in enumerate(coco.images)}
    if len(place_of) < len(coco.images):
        ((twice, _),) = Counter(image.id for image in coco.images).most_common(1)
        raise ManifestError(f"{path}: images holds id {twice} more than once; give every entry an id of its own")
    count = len(coco.annotations)
    places = np.fromiter((place_of.get(a.image_id, -1) for a in coco.annotations), np.intp, count)
    if (places < 0).any():
        stray = coco.annotations[int(np.argmax(places < 0))]
        raise ManifestError(
            f"{path}: annotation {stray.id} belongs to image {stray.image_id}, which is not listed; "
            "remove the annotation or add the image"
        )
    order = np.argsort(places, kind="stable")
    places = places[order]
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite, and reported below
        flat = np.fromiter(chain.from_iterable(a.bbox for a in coco.annotations), np.float32, 4 * count)
        corners = box_geometry.xywh_to_xyxy(flat.reshape(count, 4)[order])
    sizes = np.fromiter(chain.from_iterable((image.width, image.height) for image in coco.images), np.float32)
    inside = np.clip(corners, 0, np.tile(sizes.reshape(-1, 2)[places], 2))
    usable = (corners[:, 2:] > corners[:, :2]).all(1) & np.isfinite(corners).all(1) & (box_geometry.area(inside) > 0)
    defects: dict[int, str] = {}
    for row in np.flatnonzero(~usable)[::-1].tolist():  # backwards: the first of an image stays
        image = coco.images[places[row]]
        defects[int(places[row])] = (
            f"it has {box_geometry.defect(corners[row], image.width, image.height)}; draw it again"
        )
    first = np.searchsorted(places, np.arange(len(coco.images) + 1))
    return _Boxes(inside, first.tolist(), defects)


def _reason_against(image: _Image, boxes: int) -> str | None:
    """Why an image with so many boxes cannot be used, or None."""
    for name in [image.file_name] if image.mask_file is None else [image.file_name, image.mask_file]:
        if not stays_inside(name):
            return f"the file name {name!r} is empty or leaves the data folder; use a path relative to it, without '..'"
    if image.width < 1 or image.height < 1:
        return f"its size is given as {image.width}×{image.height}; write the size in pixels"
    if not boxes and not image.authentic:
        return 'it has no box and is not marked authentic; draw a box or set "authentic": true'
    if boxes and image.authentic:
        return "it has a box and is marked authentic; remove one of the two"
    return None


def _record(image: _Image, boxes_xyxy: Boxes, root: Path) -> ImageRecord:
    return ImageRecord(
        image_id=image.id,
        path=root / image.file_name,
        width=image.width,
        height=image.height,
        boxes_xyxy=boxes_xyxy,
        split=image.split,
        source=sys.intern(image.source),  # one text for all images of a set
        mask_path=root / image.mask_file if image.mask_file else None,
        authentic=image.authentic,
        kind=image.kind and sys.intern(image.kind),
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
    return real[len(inside) :].replace(os.sep, "/")
