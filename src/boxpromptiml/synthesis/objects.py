"""Objects to splice, from photos with instance maps; they are split like the photos they are pasted into.

A folder of objects has ``images/`` and ``instances/`` with equal file stems. An instance map is an integer image, 0 for
the background and one number per object, as COCO's tools and most segmentation data sets provide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from boxpromptiml import images
from boxpromptiml.core.records import InputError, Split
from boxpromptiml.runtime.provenance import file_sha256
from boxpromptiml.synthesis.cutout import Cutout, cut_out

SMALLEST = 24
"""Objects with a shorter side than this, in pixels, would be blurred when enlarged."""
LARGEST_SHARE = 0.6
"""Objects that cover a larger fraction of their photo are probably background."""


@dataclass(frozen=True, slots=True)
class SourceObjects:
    """The objects of one photo.

    Attributes:
        path: the photo.
        instances: its instance map.
        numbers: values of the usable objects in the map.
        scene: photos of the same scene are never in different splits.
        split: the only split that uses the objects.
    """

    path: Path
    instances: Path
    numbers: tuple[int, ...]
    scene: str
    split: Split = "train"


def list_objects(folder: Path) -> list[tuple[Path, Path]]:
    """List the photos in a folder of objects with their instance maps, paired by stem.

    Raises:
        ImageError: the folder has no ``images`` or no ``instances``.
        InputError: no photo has an instance map.
    """
    maps = {path.stem: path for path in images.list_images(folder / "instances")}
    pairs = [(photo, maps[photo.stem]) for photo in images.list_images(folder / "images") if photo.stem in maps]
    if not pairs:
        raise InputError(f"{folder}: no photo in images/ has a map with its name in instances/; objects need both")
    return pairs


def not_looked_at(folder: Path) -> list[str]:
    """Describe the unused files in a folder of objects: other files, photos without a map, maps without a photo."""
    stems = [Counter(path.stem for path in images.list_images(folder / name)) for name in ("images", "instances")]
    alone = [sum((ours - theirs).values()) for ours, theirs in (stems, stems[::-1])]
    told = [f"{folder}: {alone[0]} photos without a map and {alone[1]} maps without a photo"] if any(alone) else []
    remark = images.scan_folder(folder).remark()
    return [*told, remark] if remark else told


def examine_objects(pair: tuple[Path, Path]) -> SourceObjects | str:
    """Find the usable objects of a photo, possibly none; a string is the reason why it cannot be read."""
    path, instances = pair
    try:
        numbers = _usable(images.read_instances(path, instances)[1])
    except images.ImageError as error:
        return str(error)
    return SourceObjects(path, instances, numbers, file_sha256(path))


def read_object(source: SourceObjects, number: int) -> Cutout:
    """Read one object with its margin.

    Raises:
        ImageError: the photo or its map can no longer be read.
    """
    photo, instances = images.read_instances(source.path, source.instances)
    return cut_out(photo, instances == number)


def split_objects(
    found: Sequence[SourceObjects], known: Mapping[str, Split], wanted: Mapping[Split, int], seed: int
) -> list[SourceObjects]:
    """Assign photos with objects to splits; a photo that is also in ``known`` keeps its split.

    Args:
        found: photos with objects, in an order that does not depend on the machine.
        known: scene → split of the photos to forge.
        wanted: number of images to create per split; photos are assigned in proportion.
        seed: random seed for the shuffle.
    """
    scenes = [scene for scene in dict.fromkeys(source.scene for source in found) if scene not in known]
    np.random.default_rng([seed, 1]).shuffle(scenes)
    splits = [split for split, count in wanted.items() if count > 0]
    ends = np.cumsum([wanted[split] for split in splits]) / sum(wanted.values()) * len(scenes)
    drawn = {scene: splits[int(np.searchsorted(ends, i, side="right"))] for i, scene in enumerate(scenes)}
    split_of = drawn | dict(known)
    return [replace(source, split=split_of[source.scene]) for source in found]


def _usable(instances: images.Instances) -> tuple[int, ...]:
    numbers, areas = np.unique(instances, return_counts=True)
    usable = []
    for number, area in zip(numbers.tolist(), areas.tolist(), strict=True):
        if number == 0 or area > LARGEST_SHARE * instances.size or area < SMALLEST**2 / 2:
            continue
        _, _, width, height = cv2.boundingRect((instances == number).astype(np.uint8))
        if min(width, height) >= SMALLEST:
            usable.append(number)
    return tuple(usable)
