"""Manifests: COCO detection JSON that says which images there are and where their coarse boxes lie.

Beside COCO's own fields an image carries ``split``, ``source``, ``mask_file``, ``authentic`` and ``kind``. File names
are relative to the manifest's folder, or to ``info.image_root`` where that is given, and never leave it. All boxes
have category 1, "manipulated". The file is parsed and typed by msgspec, whose messages name the place of a mistake.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from boxpromptiml import boxes as box_geometry
from boxpromptiml.records import ImageRecord, InputError, SetAside

CATEGORY: dict[str, str | int] = {"id": 1, "name": "manipulated"}


class ManifestError(InputError):
    """A manifest that cannot be used at all. Its text is one line that names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest holds.

    Attributes:
        path: the JSON file.
        records: the usable images, in the manifest's order.
        set_aside: images that cannot be used, with the reason.
    """

    path: Path
    records: list[ImageRecord]
    set_aside: list[SetAside]


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int
    height: int
    split: Literal["train", "val", "test"] = "train"
    source: str = ""
    mask_file: str | None = None
    authentic: bool = False
    kind: str | None = None


class _Annotation(msgspec.Struct):
    id: int
    image_id: int
    bbox: tuple[float, float, float, float]
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


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest. No image file is opened.

    Images with a defect of their own (a file name that leaves the folder, a box outside the image, neither a box nor
    ``authentic``) are set aside; boxes that reach over the border are cut to the image.

    Raises:
        ManifestError: the file is missing, is not such JSON, or holds an id twice.
    """
    coco = _parse(path)
    _refuse_duplicates(path, "images", (image.id for image in coco.images))
    root = path.parent / coco.info.image_root
    boxes_of: dict[int, list[tuple[float, float, float, float]]] = {image.id: [] for image in coco.images}
    for annotation in coco.annotations:
        if annotation.image_id not in boxes_of:
            raise ManifestError(
                f"{path}: annotation {annotation.id} belongs to image {annotation.image_id}, which is not listed; "
                "remove the annotation or add the image"
            )
        boxes_of[annotation.image_id].append(annotation.bbox)

    records: list[ImageRecord] = []
    set_aside: list[SetAside] = []
    for image in coco.images:
        record = _record(image, boxes_of[image.id], root)
        if isinstance(record, str):
            set_aside.append(SetAside(image.id, image.file_name, record))
        else:
            records.append(record)
    return Manifest(path, records, set_aside)


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
    images: list[_Image] = []
    annotations: list[_Annotation] = []
    for record in records:
        images.append(
            _Image(
                id=record.image_id,
                file_name=_relative(record.path, base),
                width=record.width,
                height=record.height,
                split=record.split,
                source=record.source,
                mask_file=None if record.mask_path is None else _relative(record.mask_path, base),
                authentic=record.authentic,
                kind=record.kind,
            )
        )
        for x, y, w, h in box_geometry.xyxy_to_xywh(record.boxes_xyxy).astype(float).round(3).tolist():
            annotations.append(_Annotation(len(annotations) + 1, record.image_id, (x, y, w, h), area=w * h))
    image_root = "" if root is None else os.path.relpath(base, path.parent.resolve())
    coco = _Coco(images, annotations, _Info(description, image_root))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(coco), indent=1) + b"\n")
    partial.replace(path)


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


def _refuse_duplicates(path: Path, what: str, ids: Iterable[int]) -> None:
    twice = [value for value, count in Counter(ids).items() if count > 1]
    if twice:
        raise ManifestError(f"{path}: {what} holds id {twice[0]} more than once; give every entry an id of its own")


def _record(image: _Image, boxes_xywh: list[tuple[float, float, float, float]], root: Path) -> ImageRecord | str:
    """The record of an image, or the reason why there is none."""
    for name in [image.file_name] if image.mask_file is None else [image.file_name, image.mask_file]:
        if not _stays_inside(name):
            return f"the file name {name!r} is empty or leaves the data folder; use a path relative to it, without '..'"
    if image.width < 1 or image.height < 1:
        return f"its size is given as {image.width}×{image.height}; write the size in pixels"
    if not boxes_xywh and not image.authentic:
        return 'it has no box and is not marked authentic; draw a box or set "authentic": true'
    if boxes_xywh and image.authentic:
        return "it has a box and is marked authentic; remove one of the two"
    corners = box_geometry.xywh_to_xyxy(box_geometry.as_boxes(boxes_xywh))
    for box in corners:
        if reason := box_geometry.defect(box, image.width, image.height):
            return f"it has {reason}; draw it again"
    return ImageRecord(
        image_id=image.id,
        path=root / image.file_name,
        width=image.width,
        height=image.height,
        boxes_xyxy=box_geometry.clip(corners, image.width, image.height),
        split=image.split,
        source=image.source,
        mask_path=root / image.mask_file if image.mask_file else None,
        authentic=image.authentic,
        kind=image.kind,
    )


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(path.parts) and not path.is_absolute() and not {".."} & set(path.parts) and not set(":\0") & set(name)


def _relative(path: Path, base: Path) -> str:
    try:
        return path.resolve().relative_to(base).as_posix()
    except ValueError:
        raise ManifestError(f"{path}: lies outside {base}; move it there or choose a folder above both") from None
