"""Source photos of forgeries, and their assignment to splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from boxpromptiml import images
from boxpromptiml.core.records import InputError, Split
from boxpromptiml.runtime.provenance import file_sha256

SMALLEST_SIDE = 64
"""Photos with a shorter side than this, in pixels, are skipped as icons."""

# Colour photos in the wheels of packages that this project depends on, as (package, file, scene, split). The split is
# chosen by hand. Test: three different natural scenes (an animal, a still life, a building in a landscape). Training:
# two people, a flower, and for variety a telescope, an eye and a microscope photo. Validation: a workshop and a night
# scene. The two motorcycle photos are a stereo pair of one scene, so they stay together.
_PACKAGED: tuple[tuple[str, str, str, Split], ...] = (
    ("skimage", "data/astronaut.png", "astronaut", "train"),
    ("skimage", "data/hubble_deep_field.jpg", "hubble_deep_field", "train"),
    ("skimage", "data/retina.jpg", "retina", "train"),
    ("sklearn", "datasets/images/flower.jpg", "flower", "train"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "grace_hopper", "train"),
    ("skimage", "data/ihc.png", "ihc", "train"),
    ("skimage", "data/motorcycle_left.png", "motorcycle", "val"),
    ("skimage", "data/motorcycle_right.png", "motorcycle", "val"),
    ("skimage", "data/rocket.jpg", "rocket", "val"),
    ("skimage", "data/chelsea.png", "chelsea", "test"),
    ("skimage", "data/coffee.png", "coffee", "test"),
    ("sklearn", "datasets/images/china.jpg", "china", "test"),
)


@dataclass(frozen=True, slots=True)
class SourcePhoto:
    """A photo used for forgeries.

    Attributes:
        path: the file.
        scene: photos of the same scene are never in different splits and never spliced into each other.
        split: the only split that uses the photo, as host or as donor.
    """

    path: Path
    scene: str
    split: Split


@dataclass(frozen=True, slots=True)
class ExaminedPhoto:
    """A decoded file: ``defect`` is None if it is usable, ``digest`` is equal for identical files."""

    path: Path
    digest: str
    defect: str | None


def packaged_photos() -> list[SourcePhoto]:
    """Return the twelve colour photos that scikit-image, scikit-learn and matplotlib ship; nothing is downloaded."""
    return [SourcePhoto(_package_folder(package) / file, scene, split) for package, file, scene, split in _PACKAGED]


def examine(path: Path) -> ExaminedPhoto:
    """Decode a photo to find out whether it is usable."""
    try:
        height, width = images.read_photo(path).shape[:2]
    except images.ImageError as error:
        return ExaminedPhoto(path, "", str(error))
    if min(width, height) < SMALLEST_SIDE:
        return ExaminedPhoto(path, "", f"{path}: {width}×{height} pixels, below {SMALLEST_SIDE}; use a larger photo")
    return ExaminedPhoto(path, file_sha256(path), None)


def split_photos(
    examined: Iterable[ExaminedPhoto], wanted: Mapping[Split, int], least: int, seed: int
) -> list[SourcePhoto]:
    """Assign usable photos to splits, in proportion to the number of images wanted per split.

    Identical files belong to the same scene, so a copy of a training photo never gets into another split.

    Args:
        examined: photos in an order that does not depend on the machine; those with a defect are skipped.
        wanted: number of images to create per split.
        least: minimum number of scenes per split with images.
        seed: random seed for the shuffle.

    Raises:
        InputError: there are too few photos.
    """
    usable = [photo for photo in examined if photo.defect is None]
    scenes = list(dict.fromkeys(photo.digest for photo in usable))
    splits = [split for split, count in wanted.items() if count > 0]
    if len(scenes) < least * len(splits):
        raise InputError(
            f"found {len(scenes)} different usable photos, but {', '.join(splits)} need at least {least} each; "
            "add photos, or request fewer splits"
        )
    np.random.default_rng(seed).shuffle(scenes)
    ends = np.cumsum(_shares([wanted[split] for split in splits], len(scenes), least))
    split_of = {scene: splits[int(np.searchsorted(ends, i, side="right"))] for i, scene in enumerate(scenes)}
    return [SourcePhoto(photo.path, photo.digest, split_of[photo.digest]) for photo in usable]


def _shares(wanted: list[int], total: int, least: int) -> list[int]:
    """Give each split ``least`` and distribute the rest of ``total`` in proportion; the largest gets the remainder."""
    rest = total - least * len(wanted)
    shares = [least + rest * count // sum(wanted) for count in wanted]
    shares[int(np.argmax(shares))] += total - sum(shares)
    return shares


def _package_folder(package: str) -> Path:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(f"the package {package} is not installed; install it, or pass a folder of photos")
    return Path(found.submodule_search_locations[0])
