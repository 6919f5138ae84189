"""Exports that are a folder: it appears whole or not at all, and holds the images as links or copies."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from boxpromptiml.core.atomic_files import atomic_folder
from boxpromptiml.datasets.annotations.drawn import AnnotationError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which takes its name when all of it is written.

    Raises:
        AnnotationError: something is in the way.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AnnotationError(f"{out}: exists and is not an empty folder; name a new one")
    with atomic_folder(out) as partial:
        yield partial


def refuse_shared_names(relatives: Iterable[PurePosixPath]) -> None:
    """Refuse images that an export could not keep apart, because it drops their suffixes.

    Raises:
        AnnotationError: two paths are the same without suffix.
    """
    counts = Counter(relative.with_suffix("") for relative in relatives)
    shared = [name for name, count in counts.items() if count > 1]
    if shared:
        raise AnnotationError(f"{shared[0]}: two images could not be told apart by this name; rename one")


def place_image(source: Path, target: Path, copy: bool) -> None:
    """Put an image into an export, as a relative link or as a copy.

    Raises:
        AnnotationError: there is no such image, or the file system cannot link.
    """
    if not source.is_file():
        raise AnnotationError(f"{source}: no such file; restore it or take it out of the manifest")
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy:
        shutil.copyfile(source, target)
        return
    try:
        target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
    except OSError as error:  # Windows without the right to link, or a FAT disk
        raise AnnotationError(f"{target}: cannot be a link ({error.strerror}); use --copy_images true") from None
