"""Pascal VOC: one XML file per image in ``Annotations/``, images in ``JPEGImages/``, splits in ``ImageSets/Main/``.

XML files next to their images, as written by LabelImg and Roboflow, are read as well; folders named train, valid or
test then give the split. An XML file belongs to the image with the same stem, as in the devkit; ``<filename>`` is only
used if there is no such image, because users rename files.

Integers are the devkit's pixel indices, 1-based and inclusive: ``<xmin>1</xmin>`` is the left border, and ``<xmax>``
equals the width for a box over the whole image. Numbers with a decimal point are 0-based edges, as CVAT writes them. We
write integers if all coordinates of a box are integers, else decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import cast, get_args
from xml.etree import ElementTree

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from tqdm import tqdm

from boxpromptiml.core.records import ImageRecord, Split
from boxpromptiml.datasets.annotations.drawn import (
    AnnotationError,
    Drawings,
    DrawnBox,
    DrawnImage,
    named_split,
    read_lines,
)
from boxpromptiml.datasets.annotations.export_folder import export_folder, place_image, refuse_shared_names

SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(path: Path) -> Drawings:
    """Read a VOC folder, any folder of such XML files, or a single file.

    Raises:
        AnnotationError: the path does not exist.
    """
    if not path.exists():
        raise AnnotationError(f"{path}: no such folder; pass the annotations with --annotations")
    root = path.parent if path.is_file() or path.name == "Annotations" else path
    folder = root / "Annotations" if (root / "Annotations").is_dir() else root
    files = [path] if path.is_file() else sorted(folder.rglob("*.xml"))
    split_of = _splits(root / "ImageSets" / "Main")
    images = []
    for file in files:
        name = file.relative_to(folder if file.is_relative_to(folder) else root).with_suffix("").as_posix()
        split = split_of.get(name) or named_split(PurePosixPath(name).parent.as_posix())
        images.append(_drawn(file, f"{name}.*", split))
    pictures = root / "JPEGImages"
    return Drawings(pictures if pictures.is_dir() else root, images)


def write(
    out: Path, records: Sequence[ImageRecord], root: Path, label: str, copy_images: bool, overwrite: bool = False
) -> list[str]:
    """Write Annotations, JPEGImages and ImageSets/Main into a new folder.

    Returns:
        Messages about missing images.
    """
    names = {record.image_id: PurePosixPath(record.path.relative_to(root).as_posix()) for record in records}
    refuse_shared_names(names.values())
    broken = [name for name in map(str, names.values()) if len(name.splitlines()) > 1]
    if broken:
        raise AnnotationError(f"{broken[0]!r}: this name cannot be stored in a list; rename the file")
    set_aside: list[str] = []
    listed: dict[str, list[str]] = {}
    with export_folder(out, overwrite) as folder:
        for record in tqdm(records, unit=" images"):
            name = names[record.image_id]
            try:
                place_image(record.path, folder / "JPEGImages" / name, copy_images)
            except AnnotationError as error:
                set_aside.append(str(error))
                continue
            file = folder / "Annotations" / name.with_suffix(".xml")
            file.parent.mkdir(parents=True, exist_ok=True)
            _tree(record, name, label).write(file, encoding="utf-8")
            listed.setdefault(record.split, []).append(name.with_suffix("").as_posix())
        lists = folder / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        for split, ids in listed.items():
            (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
    return set_aside


def _splits(folder: Path) -> dict[str, Split]:
    """Map image paths without suffix to splits; train takes precedence over val, and val over test.

    CVAT names the lists Train.txt and Validation.txt, and quotes names with spaces.
    """
    lists: dict[Split, list[Path]] = {split: [] for split in get_args(Split)}
    for file in sorted(folder.glob("*.txt")):
        split = named_split(file.stem)
        if split is not None:
            lists[split].append(file)
    split_of: dict[str, Split] = {}
    for split, files in lists.items():
        for file in files:
            for line in read_lines(file):
                for name in (line, line.strip(), line.strip().strip('"')):
                    split_of.setdefault(name, split)
    return split_of


def _drawn(file: Path, name: str, split: Split | None) -> DrawnImage:
    try:
        tree = parse(file).getroot()
    except DefusedXmlException:
        return DrawnImage((name,), defect=f"{file}: declares XML entities, which are not allowed; export it again")
    except (ElementTree.ParseError, ValueError) as error:  # ValueError for an unknown encoding
        return DrawnImage((name,), defect=f"{file}: not valid XML: {error}; export it again")
    if tree.tag != "annotation":
        return DrawnImage(
            (name,), defect=f"{file}: contains <{tree.tag}> instead of a VOC <annotation>; check --format"
        )
    called = PurePosixPath(
        (tree.findtext("filename") or "").strip().replace("\\", "/")
    ).name  # often a path on another machine
    boxes = [_box(entry, f"{file} object {n}") for n, entry in enumerate(tree.findall("object"), start=1)]
    size = [_number(tree, f"size/{side}") for side in ("width", "height")]
    whole = None if None in size or 0 in size else cast(tuple[int, int], tuple(round(cast(float, v)) for v in size))
    return DrawnImage((name, called) if called else (name,), boxes, size=whole, split=split)


def _box(entry: ElementTree.Element, where: str) -> DrawnBox:
    name = (entry.findtext("name") or "").strip()
    texts = [(entry.findtext(f"bndbox/{side}") or "").strip() for side in SIDES]
    numbers = [_number(entry, f"bndbox/{side}") for side in SIDES]
    labels = (name,) if name else ()
    if None in numbers:
        return DrawnBox(labels, f"{where}: no bndbox with four numbers; add {' '.join(SIDES)}")
    x1, y1, x2, y2 = cast(list[float], numbers)
    first = 0 if any("." in text for text in texts) else 1
    return DrawnBox(labels, (x1 - first, y1 - first, x2, y2))


def _number(entry: ElementTree.Element, place: str) -> float | None:
    try:
        return float(entry.findtext(place) or "")
    except ValueError:
        return None


def _tree(record: ImageRecord, name: PurePosixPath, label: str) -> ElementTree.ElementTree:
    top = ElementTree.Element("annotation")
    _add(top, "folder", "JPEGImages")
    _add(top, "filename", name.as_posix())
    size = _add(top, "size")
    for side, value in (("width", record.width), ("height", record.height), ("depth", 3)):
        _add(size, side, str(value))
    _add(top, "segmented", "0")
    for corners in record.boxes_xyxy.astype(float).round(3).tolist():
        entry = _add(top, "object")
        for tag, text in (("name", label), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
            _add(entry, tag, text)
        box = _add(entry, "bndbox")
        whole = all(value.is_integer() for value in corners)
        for i, (side, value) in enumerate(zip(SIDES, corners, strict=True)):
            _add(box, side, str(int(value) + (i < 2)) if whole else str(value))
    ElementTree.indent(top)
    return ElementTree.ElementTree(top)


def _add(parent: ElementTree.Element, tag: str, text: str | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, tag)
    child.text = text
    return child
