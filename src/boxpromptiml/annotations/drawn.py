"""What every annotation format is read into: images by name, with the boxes that somebody drew on them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from boxpromptiml.records import InputError, Split

Corners = tuple[float, float, float, float]
Shape = TypeVar("Shape")


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
    """

    folder: Path
    images: list[DrawnImage]
    problems: list[str] = field(default_factory=list)


def parse_json(path: Path, shape: type[Shape]) -> Shape:
    """Content of a JSON file as a type that msgspec knows.

    The standard library parses, because tools written in Python write NaN, which JSON does not have; such a number
    then costs one image and not the file.

    Raises:
        AnnotationError: the file is missing, is not JSON (with the line) or has another shape (with the path inside).
    """
    try:
        text = path.read_bytes()
        content = json.loads(text)
        if re.search(rb"\\u[dD]", text):  # halves of a character, which nothing in UTF-8 can hold: two, or an error
            json.dumps(content, ensure_ascii=False).encode()
        return msgspec.convert(content, shape)
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file; name the annotations with --annotations") from None
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}); name a JSON file") from None
    except msgspec.ValidationError as error:
        raise AnnotationError(f"{path}: not laid out as expected: {error}; is --format right?") from None
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not JSON that can be read: {error}; export it again") from None


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, without line ends.

    Raises:
        AnnotationError: it is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text (byte {error.start}); export it again") from None


def around(points: list[tuple[float, float]]) -> Corners:
    """Corners of the box around the corners of a polygon."""
    across, down = [x for x, _ in points], [y for _, y in points]
    return min(across), min(down), max(across), max(down)
