"""Common representation of all annotation formats: image names and the boxes drawn on them."""

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
"""Names that tools use for the splits, in lower case."""


class AnnotationError(InputError):
    """Annotations cannot be used. The message is one line with the location and the remedy."""


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """One box.

    Attributes:
        labels: names of its categories; empty if the tool gave none.
        corners: unchecked box (XYXY), or why the box is unusable.
    """

    labels: tuple[str, ...]
    corners: Corners | str


@dataclass(frozen=True, slots=True)
class DrawnImage:
    """One image as described by annotations. No image file has been read.

    Attributes:
        names: possible relative paths, the most reliable first, with suffix ``.*`` if the format omits suffixes.
        boxes: drawn boxes, in the order of the file.
        size: (width, height) in pixels if given.
        shares: True if boxes are relative to width and height (0 to 1), False for pixels.
        authentic: True if the annotations state that nothing in the image was manipulated.
        split: train, val or test if given by the layout.
        source: name of the data set if given.
        mask_file: ground truth, relative to the folder of the images, if given.
        kind: type of manipulation if given.
        image_id: integer that is unique in the file, if the format has one.
        defect: why the image is unusable, or None.
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
    """Content of an annotation file or folder.

    Attributes:
        folder: default folder of the images.
        images: described images, in an order independent of the file system.
        problems: one message per part that belongs to no image.
        notes: one message per part that was ignored although it is valid.
        inferred: True if images count as authentic only because they have no boxes.
    """

    folder: Path
    images: list[DrawnImage]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    inferred: bool = False


def parse_json(path: Path, shape: type[Shape]) -> Shape:
    """Decode a JSON file into a type that msgspec supports.

    Raises:
        AnnotationError: the file is missing, is not JSON, or has an unexpected structure; with line or path inside.
    """
    try:
        return decode_json(path.read_bytes(), shape)
    except OSError as error:
        raise unreadable(path, error) from None
    except ShapeError as error:
        raise AnnotationError(f"{path}: not laid out as expected: {error}; check --format") from None
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not valid JSON: {error}; export it again") from None


def unreadable(path: Path, error: OSError) -> AnnotationError:
    """Return the error for a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return AnnotationError(f"{path}: no such file; pass the annotations with --annotations")
    return AnnotationError(f"{path}: cannot be read ({error.strerror}); pass a JSON file")


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without line ends and byte-order mark.

    Raises:
        AnnotationError: it is neither UTF-8 nor UTF-16 with a byte-order mark.
    """
    try:
        return decode_text(path.read_bytes()).splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text (byte {error.start}); export it again") from None


def named_split(path: str) -> Split | None:
    """Return the split named by a folder's path or a list's name, if any; the innermost folder takes precedence.

    Examples are ``set/valid``, CVAT's ``Validation`` and ``obj_train_data``, and COCO's ``val2017``.
    """
    for part in reversed(PurePosixPath(path).parts):
        word = re.sub(r"^obj_(.+)_data$", r"\1", part.lower()).rstrip("0123456789")
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word]
    return None
