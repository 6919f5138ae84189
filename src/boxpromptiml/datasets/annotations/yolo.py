"""YOLO data sets in the layout of Ultralytics: one text file per image with a line per box.

    data.yaml                      train: train/images, val: …, names: [manipulated]
    train/images/a.jpg             or images/train/a.jpg with labels/train/a.txt
    train/labels/a.txt             0 0.5 0.5 0.25 0.2 = class, centre x, centre y, width, height, relative to the image

Label files are located as in Ultralytics (``data.utils.img2label_paths``): the last folder ``images`` is replaced by
``labels``, or the file is next to the image. A line with more numbers is a polygon or an oriented box (class and
corners), which is replaced by its bounding box. An empty label file means "background", so the image is authentic; an
image without label file is unlabelled. An image listed in several splits belongs to train before val before test.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import msgspec
from tqdm import tqdm

from boxpromptiml.core.boxes import around
from boxpromptiml.core.records import ImageRecord, Split
from boxpromptiml.datasets.annotations.drawn import (
    SPLIT_NAMES,
    AnnotationError,
    Drawings,
    DrawnBox,
    DrawnImage,
    named_split,
    read_lines,
)
from boxpromptiml.datasets.annotations.export_folder import export_folder, place_image, refuse_shared_names
from boxpromptiml.datasets.annotations.matching import spellings
from boxpromptiml.images import list_images

TOLERANCE = 0.01
"""How far outside [0, 1] a number may lie, as in Ultralytics; boxes are clipped to the image."""
NO_LABELS = {"classes", "requirements", *SPLIT_NAMES}
"""Stems, in lower case, of text files that are not labels; Roboflow also adds files starting with README."""


CLASS_FILES = ("classes.txt", "labels/classes.txt", "obj.names")


class _DataYaml(msgspec.Struct):
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None
    names: list[Any] | dict[int, Any] | None = None
    kpt_shape: list[int] | None = None


def read(path: Path) -> Drawings:
    """Read a data set by its data.yaml, a folder with images and labels, or a folder with labels only.

    Raises:
        AnnotationError: the path does not exist, or data.yaml is invalid or names missing files.
    """
    described = path if path.is_file() else path / "data.yaml"
    split_of: dict[Path, Split | None] = {}
    folders: dict[Path, Split | None]
    missing: dict[Split, str] = {}
    if described.is_file():
        data = _data_yaml(described)
        base = described.parent / (data.path or "")
        root = base if base.is_dir() else described.parent  # `path` is often a folder on another machine
        folders, split_of, missing = _splits(described, root, data)
    elif path.is_dir():
        data, root = _DataYaml(), path
        folders = {folder: None for folder in sorted(path.rglob("images")) if folder.is_dir()} or {path: None}
    else:
        raise AnnotationError(f"{path}: no such data set; pass its folder or its data.yaml")
    for folder, split in folders.items():
        for image in list_images(folder):
            split_of.setdefault(image, split)
    lines = _Lines(_class_names(data, root), keypoints=data.kpt_shape is not None)
    images = [_drawn(image, _label_file(image, root), root, lines, split) for image, split in split_of.items()]
    used = Counter(_label_file(image, root) for image in split_of)
    images = [
        replace(drawn, defect=f"{image}: another image has the same label file, {file.name}; rename one of the two")
        if used[file := _label_file(image, root)] > 1 and file.is_file()
        else drawn
        for image, drawn in zip(split_of, images, strict=True)
    ]
    for folder, split in folders.items():
        for file in _labels_below(root / _swapped(folder.relative_to(root), "images", "labels")):
            if file not in used:
                pictured = root / _swapped(file.relative_to(root).with_suffix(".*"), "labels", "images")
                images.append(_drawn(pictured, file, root, lines, split))
    gone = {
        split: f"{described}: {split} names {entry}, which does not exist in {root}" for split, entry in missing.items()
    }
    notes = [gone.pop("test")] if "test" in gone else []  # Roboflow names it even if there is no test split
    return Drawings(root, images, list(gone.values()), notes, inferred=True)


def write(
    out: Path, records: Sequence[ImageRecord], root: Path, label: str, copy_images: bool, overwrite: bool = False
) -> list[str]:
    """Write ``<split>/images``, ``<split>/labels`` and data.yaml into a new folder.

    An image that already lies in a folder ``images`` keeps its path below the split, so that Ultralytics finds its
    label.

    Returns:
        Messages about missing images.
    """
    inner = {record.image_id: _below_split(record, root) for record in records}
    places = {record.image_id: record.split / inner[record.image_id] for record in records}
    refuse_shared_names([*inner.values(), *places.values()])  # both occur when boxes are imported again
    refuse_shared_names(PurePosixPath(_label_file(Path(place), Path())) for place in places.values())
    set_aside: list[str] = []
    with export_folder(out, overwrite) as folder:
        for split in ("train", "val"):  # Ultralytics requires both
            (folder / split).mkdir()
        for record in tqdm(records, unit=" images"):
            target = folder / places[record.image_id]
            try:
                place_image(record.path, target, copy_images)
            except AnnotationError as error:
                set_aside.append(str(error))
                continue
            text = _label_file(target, folder)
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("".join(_lines(record)), encoding="utf-8")
        splits = {split: split for split in get_args(Split) if (folder / split).is_dir()}
        (folder / "data.yaml").write_bytes(msgspec.yaml.encode({**splits, "names": {0: label}}))
    return set_aside


def _data_yaml(path: Path) -> _DataYaml:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=_DataYaml)
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from None
    except msgspec.DecodeError as error:  # invalid YAML gives a message of several lines
        raise AnnotationError(f"{path}: not a YOLO data.yaml: {' '.join(str(error).split())}") from None


def _splits(
    described: Path, root: Path, data: _DataYaml
) -> tuple[dict[Path, Split | None], dict[Path, Split | None], dict[Split, str]]:
    """Return image folders, listed images (each with the first split naming it), and missing entries of data.yaml.

    Raises:
        AnnotationError: every entry is missing.
    """
    folders: dict[Path, Split | None] = {}
    listed: dict[Path, Split | None] = {}
    missing: dict[Split, str] = {}
    for split in get_args(Split):
        entries = getattr(data, split) or []
        for entry in [entries] if isinstance(entries, str) else entries:
            # Roboflow writes ../train/images for a folder beside data.yaml; Ultralytics drops the dots as well
            name = entry.replace("\\", "/")
            places = [_inside(root / written, root) for written in (name, name.removeprefix("../"))]
            place = next((place for place in places if place is not None and place.exists()), None)
            if place is None:
                missing[split] = entry
            elif place.is_dir():
                folders.setdefault(place, split)
            else:
                for line in read_lines(place):
                    if line.strip():
                        listed.setdefault(_listed_image(line.strip(), place, root), split)
    if missing and not folders and not listed:
        split, entry = next(iter(missing.items()))
        raise AnnotationError(f"{described}: {split} names {entry}, which does not exist in {root}; correct it")
    return folders, listed, missing


def _inside(path: Path, root: Path) -> Path | None:
    relative = Path(os.path.relpath(path, root))  # without resolving symbolic links
    return None if ".." in relative.parts else root / relative


def _listed_image(line: str, lister: Path, root: Path) -> Path:
    """Return the image that a line of an image list refers to, even if the list was written on another machine."""
    meant = [[part for part in name.split("/") if part not in ("", ".", "..")] for name in spellings((line,))]
    for parts in meant:
        for start in range(len(parts)):
            for base in (lister.parent, root):
                if base.joinpath(*parts[start:]).is_file():
                    return _inside(base.joinpath(*parts[start:]), root) or root.joinpath(*parts)
    return root.joinpath(*meant[0])


def _class_names(data: _DataYaml, root: Path) -> dict[int, str]:
    names = data.names or []
    if not names:
        files = [file for name in CLASS_FILES if (file := root / name).is_file()]
        names = read_lines(files[0]) if files else []
    numbered = names.items() if isinstance(names, dict) else enumerate(names)
    return {number: str(name).strip() for number, name in numbered}


def _swapped(relative: Path, old: str, new: str) -> Path:
    """Replace the last folder of one name by another."""
    parts = list(relative.parts)
    if old in parts:
        parts[len(parts) - 1 - parts[::-1].index(old)] = new
    return Path(*parts)


def _label_file(image: Path, root: Path) -> Path:
    relative = image.relative_to(root)
    return root / _swapped(relative.parent, "images", "labels") / f"{image.stem}.txt"


def _labels_below(folder: Path) -> list[Path]:
    """List label files, without other text files that tools add."""
    texts = sorted(folder.rglob("*.txt"))
    return [text for text in texts if text.stem.lower() not in NO_LABELS and not text.name.startswith("README")]


def _drawn(image: Path, file: Path, root: Path, lines: _Lines, split: Split | None) -> DrawnImage:
    there = file.is_file()
    boxes = lines.read(file) if there else []
    split = split or named_split(image.relative_to(root).parent.as_posix())
    return DrawnImage(_names(image, root), boxes, shares=True, authentic=there and not boxes, split=split)


def _names(image: Path, root: Path) -> tuple[str, ...]:
    """Return the path within the data set, then the paths it may have had before images were sorted into splits."""
    parts = image.relative_to(root).parts
    starts = [0, 1]
    if "images" in parts[:-1]:
        starts.append(len(parts) - parts[::-1].index("images"))
    return tuple(dict.fromkeys("/".join(parts[start:]) for start in starts if start < len(parts)))


@dataclass(frozen=True, slots=True)
class _Lines:
    """Parser for the lines of label files.

    Attributes:
        classes: class number → name.
        keypoints: True if boxes are followed by keypoints, according to ``kpt_shape`` in data.yaml.
    """

    classes: dict[int, str]
    keypoints: bool

    def read(self, path: Path) -> list[DrawnBox]:
        try:
            lines = read_lines(path)
        except AnnotationError as error:
            return [DrawnBox((), str(error))]
        return [self._box(line.split(), f"{path} line {n}") for n, line in enumerate(lines, start=1) if line.strip()]

    def _box(self, fields: list[str], where: str) -> DrawnBox:
        try:
            number, *values = (float(text) for text in fields)
        except ValueError as error:
            return DrawnBox((), f"{where}: {error}; correct the line")
        if not (math.isfinite(number) and number >= 0 and number == int(number)):
            return DrawnBox((), f"{where}: {fields[0]} is not a class number; a line starts with one, counted from 0")
        if self.classes and int(number) not in self.classes:
            return DrawnBox((), f"{where}: class {number:g} has no name in data.yaml or classes.txt; add it there")
        label = (self.classes.get(int(number), f"{number:g}"),)
        values = values[:4] if self.keypoints else values
        strange = [value for value in values if not -TOLERANCE <= value <= 1 + TOLERANCE]  # also finds NaN
        if strange:
            return DrawnBox(
                label, f"{where}: {strange[0]:g} is not a share of the image; YOLO uses numbers from 0 to 1"
            )
        if len(values) == 4:
            x, y, w, h = values
            return DrawnBox(label, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        if len(values) >= 6 and len(values) % 2 == 0:
            return DrawnBox(label, around(list(zip(values[::2], values[1::2], strict=True))))
        return DrawnBox(label, f"{where}: {len(fields)} numbers; a box has 5, a polygon 7 or a larger odd number")


def _below_split(record: ImageRecord, root: Path) -> PurePosixPath:
    relative = PurePosixPath(record.path.relative_to(root).as_posix())
    return relative if "images" in relative.parts[:-1] else "images" / relative


def _lines(record: ImageRecord) -> list[str]:
    """Format a record's label lines with nine decimals: 10⁻⁵ pixels in an image of 10,000."""
    lines = []
    for x1, y1, x2, y2 in record.boxes_xyxy.astype(float).tolist():
        centre = (x1 + x2) / 2 / record.width, (y1 + y2) / 2 / record.height
        sides = (x2 - x1) / record.width, (y2 - y1) / record.height
        lines.append("0 " + " ".join(f"{share:.9f}" for share in (*centre, *sides)) + "\n")
    return lines
