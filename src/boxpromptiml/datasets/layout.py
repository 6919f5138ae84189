"""Description of a data set by its layout: images with their masks, and files without a counterpart.

Each layout is a module in `boxpromptiml.datasets.layouts` that implements `Layout`. It lists files by name without
decoding them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from boxpromptiml.images import MaskForm


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image of a data set.

    Attributes:
        image: the image file.
        mask: its ground truth, or None for an authentic image.
        group: shared by images derived from the same original photo; a group is never divided between splits.
        kind: ``splice``, ``copy_move``, ``removal`` or ``inpainting``, if known from the layout.
    """

    image: Path
    mask: Path | None
    group: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Unpaired:
    """An unusable file with the reason, which starts with the file's path."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a data set.

    Attributes:
        root: folder that contains all of them.
        images: all images, or why they are unusable, in an order independent of the file system.
        strays: masks without image.
    """

    root: Path
    images: list[ListedImage | Unpaired]
    strays: list[Unpaired]


@dataclass(frozen=True, slots=True)
class Expected:
    """Numbers of images in a complete data set; None if unknown.

    Attributes:
        manipulated: manipulated images with a mask.
        authentic: authentic images.
        train: manipulated images used for training in the paper's protocol.
        test: manipulated images used for testing in the paper's protocol.
    """

    manipulated: int | None = None
    authentic: int | None = None
    train: int | None = None
    test: int | None = None


class Layout(Protocol):
    """Interface of a layout's module."""

    EXPECTED: Expected
    MASKS: MaskForm

    def find(self, root: Path) -> Found:
        """List the data set at ``root``.

        Raises:
            InputError: a required folder or file is missing.
        """
