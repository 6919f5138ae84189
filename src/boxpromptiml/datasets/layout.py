"""What a layout says of a data set: which images it holds, with which masks, and which files do not fit together.

Every layout is a small module in `boxpromptiml.datasets.layouts` that provides what `Layout` asks for. It lists files
by their names and decodes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from boxpromptiml.images import MaskForm


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image of a data set.

    Attributes:
        image: the image file.
        mask: its ground truth, or None for an authentic image.
        group: images with the same group derive from one original photo; no two splits share a group.
        kind: ``splice``, ``copy_move``, ``removal`` or ``inpainting`` where the layout tells.
    """

    image: Path
    mask: Path | None
    group: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A file that cannot be used, and why; the reason begins with the file."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a data set.

    Attributes:
        root: the folder that all of them lie below.
        images: every image, or what is wrong with it, in an order that does not depend on the file system.
        strays: masks that belong to no image.
    """

    root: Path
    images: list[ListedImage | Unpaired]
    strays: list[Unpaired]


@dataclass(frozen=True, slots=True)
class Expected:
    """Numbers of images that a complete set has; None where nobody says.

    Attributes:
        manipulated: manipulated images with a mask.
        authentic: authentic images.
        train: manipulated images that the paper's protocol trains on.
        test: manipulated images that it tests on.
    """

    manipulated: int | None = None
    authentic: int | None = None
    train: int | None = None
    test: int | None = None


class Layout(Protocol):
    """What a layout's module provides."""

    EXPECTED: Expected
    MASKS: MaskForm

    def find(self, root: Path) -> Found:
        """List the set at ``root``.

        Raises:
            InputError: a folder or file that the layout needs is missing.
        """
