"""The photos that forgeries are made from, and how they are split so that no photo serves two splits."""

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
"""Photos with a shorter side than this, in pixels, are icons rather than photos."""

# The colour photos inside the wheels of packages this project depends on anyway, as (package, file, scene, split).
# The split is chosen by hand. Test: natural scenes of three sorts (an animal, a still life, a building in a landscape).
# Training: two people, a flower, and for variety a telescope, an eye and a microscope photo. Validation: a workshop and
# a night scene. The two motorcycle photos are a stereo pair of one scene, so they stay together.
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
    """A photo to forge.

    Attributes:
        path: the file.
        scene: photos of one scene are never in two splits and never spliced into each other.
        split: the only split the photo is used in, as host or as donor.
    """

    path: Path
    scene: str
    split: Split


@dataclass(frozen=True, slots=True)
class ExaminedPhoto:
    """A file that was decoded once: ``defect`` is None when it can be used, ``digest`` tells identical files apart."""

    path: Path
    digest: str
    defect: str | None


def packaged_photos() -> list[SourcePhoto]:
    """The twelve colour photos that scikit-image, scikit-learn and matplotlib ship; nothing is downloaded."""
    return [SourcePhoto(_package_folder(package) / file, scene, split) for package, file, scene, split in _PACKAGED]


def examine(path: Path) -> ExaminedPhoto:
    """Decode a photo to learn whether it can be used."""
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
    """Share usable photos among the splits in proportion to the images wanted from each.

    Files with identical content are one scene, so a copy of a training photo never reaches another split.

    Args:
        examined: photos in an order that does not depend on the machine; those with a defect are passed over.
        wanted: number of images to make in each split.
        least: number of scenes that each split with images must get.
        seed: of the shuffle.

    Raises:
        InputError: there are too few photos.
    """
    usable = [photo for photo in examined if photo.defect is None]
    scenes = list(dict.fromkeys(photo.digest for photo in usable))
    splits = [split for split, count in wanted.items() if count > 0]
    if len(scenes) < least * len(splits):
        raise InputError(
            f"found {len(scenes)} different usable photos, but {', '.join(splits)} need at least {least} each; "
            "add photos, or ask for fewer splits"
        )
    np.random.default_rng(seed).shuffle(scenes)
    ends = np.cumsum(_shares([wanted[split] for split in splits], len(scenes), least))
    split_of = {scene: splits[int(np.searchsorted(ends, i, side="right"))] for i, scene in enumerate(scenes)}
    return [SourcePhoto(photo.path, photo.digest, split_of[photo.digest]) for photo in usable]


def _shares(wanted: list[int], total: int, least: int) -> list[int]:
    """``least`` for each and the rest of ``total`` in proportion; the largest takes what rounding leaves."""
    rest = total - least * len(wanted)
    shares = [least + rest * count // sum(wanted) for count in wanted]
    shares[int(np.argmax(shares))] += total - sum(shares)
    return shares


def _package_folder(package: str) -> Path:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(f"the package {package} is not installed; install it, or name a folder of photos")
    return Path(found.submodule_search_locations[0])
