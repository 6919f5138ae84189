"""What every annotation format is read into: images by name, with the boxes that somebody drew on them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from boxpromptiml.core.boxes import Corners
from boxpromptiml.core.records import InputError, Split
from boxpromptiml.core.text_decoding import ShapeError, decode_json, decode_text

Shape = TypeVar("Shape")


SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What tools call the splits, in small letters."""


class AnnotationError(InputError):
    """Annotations that cannot be used. Its text is one line that names the place and the remedy."""


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """One box.

    Attributes:
        labels: names of its categories; none where the tool gave none.
        corners: ``x1 y1 x2 y2``, unchecked, or in words why it cannot be used.
    """

    labels: tuple[str, ...]
    corners: Corners | str


@dataclass(frozen=True, slots=True)
class DrawnImage:
    """One image as annotations describe it. No image file was looked at.

    Attributes:
        names: its relative paths, the most telling first; the suffix is ``.*`` where the format writes none.
        boxes: in the order of the file.
        size: (width, height) in pixels where the annotations give it.
        shares: True when corners are shares of width and height (0 to 1), False for pixels.
        authentic: True when the annotations say that nothing in the image was manipulated.
        split: train, val or test where the layout tells.
        source: name of the set where it is given.
        mask_file: ground truth relative to the folder of the images, where it is given.
        kind: manipulation kind where it is given.
        image_id: whole number, unique in its file, where the format has one.
        defect: why nothing about the image can be used, or None.
    """

    names: tuple[str, ...]
    boxes: list[DrawnBox] = field(default_factory=list)
    size: tuple[int, int] | None = None
    shares: bool = False
    authentic: bool = False
    split: Split | None = None
    source: str | None = None
    mask_file: str | None = None
    kind: str | None = None
    image_id: int | None = None
    defect: str | None = None


@dataclass(frozen=True, slots=True)
class Drawings:
    """What annotations hold.

    Attributes:
        folder: where the images are, unless the user names another folder.
        images: in an order that does not depend on the file system.
        problems: parts that belong to no image, a line for each.
        notes: what was left out although nothing is wrong with it, a line for each.
        inferred: True when images are called authentic because nothing was drawn on them, and nobody said so.
    """

    folder: Path
    images: list[DrawnImage]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    inferred: bool = False


def parse_json(path: Path, shape: type[Shape]) -> Shape:
    """Content of a JSON file as a type that msgspec knows.

    Raises:
        AnnotationError: the file is missing, is not JSON (with the line) or has another shape (with the path inside).
    """
    try:
        return decode_json(path.read_bytes(), shape)
    except OSError as error:
        raise unreadable(path, error) from None
    except ShapeError as error:
        raise AnnotationError(f"{path}: not laid out as expected: {error}; is --format right?") from None
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not JSON that can be read: {error}; export it again") from None


def unreadable(path: Path, error: OSError) -> AnnotationError:
    """What to say of a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return AnnotationError(f"{path}: no such file; name the annotations with --annotations")
    return AnnotationError(f"{path}: cannot be read ({error.strerror}); name a JSON file")


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, without line ends and byte-order marks.

    Raises:
        AnnotationError: it is neither UTF-8 nor marked as UTF-16.
    """
    try:
        return decode_text(path.read_bytes()).splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text (byte {error.start}); export it again") from None


def named_split(path: str) -> Split | None:
    """The split that a folder's path or a list's name tells, the innermost first: ``set/valid``, CVAT's ``Validation``
    and ``obj_train_data``, COCO's ``val2017``."""
    for part in reversed(PurePosixPath(path).parts):
        word = re.sub(r"^obj_(.+)_data$", r"\1", part.lower()).rstrip("0123456789")
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word]
    return None
