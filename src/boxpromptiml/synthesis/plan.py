"""The plan of a `synthesize` run, stored in synthesis.json: arguments, photos and objects.

It is written before the first image, so that an interrupted run resumes with the same plan and a run with different
arguments is rejected. `ForgeryStream` reads it to create more training images of the same plan without writing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import msgspec

from boxpromptiml import __version__, images
from boxpromptiml.core.records import InputError, Split
from boxpromptiml.runtime.processes import ParallelMap
from boxpromptiml.runtime.provenance import content_hash, write_json
from boxpromptiml.synthesis.objects import SourceObjects, examine_objects, list_objects, split_objects
from boxpromptiml.synthesis.photos import ExaminedPhoto, SourcePhoto, examine, packaged_photos, split_photos
from boxpromptiml.synthesis.recipe import Kind, Recipe

PLAN_FILE = "synthesis.json"
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Listing:
    """Fingerprint of a folder's files, by names and sizes, which detects changes without opening the files."""

    folder: str
    files: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments that determine the result. See `synthesize` for their meaning."""

    counts: dict[Split, int]
    size: int
    kinds: tuple[Kind, ...]
    authentic_share: float
    looseness: float
    recipe: Recipe
    format: str
    seed: int
    stream_train: bool
    photos: Listing | None
    objects: tuple[Listing, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a `synthesize` run.

    Attributes:
        version: version of this package that made the plan.
        settings: the arguments.
        photos: hosts and donors, each in one split.
        objects: photos with objects to splice, each in one split.
        set_aside: skipped files, with the reason.
    """

    version: str
    settings: Settings
    photos: list[SourcePhoto]
    objects: list[SourceObjects]
    set_aside: list[str]

    def photos_of(self, split: Split) -> list[SourcePhoto]:
        """Return the photos of one split."""
        return [photo for photo in self.photos if photo.split == split]

    def objects_of(self, split: Split) -> list[SourceObjects]:
        """Return the objects of one split."""
        return [source for source in self.objects if source.split == split]


def listing(folder: Path) -> Listing:
    """Compute the fingerprint of a folder.

    Raises:
        ImageError: the folder does not exist.
    """
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in images.list_images(folder)}
    return Listing(folder.name, content_hash(files))


def make_plan(settings: Settings, photos: Path | None, objects: Sequence[Path], parallel_map: ParallelMap) -> Plan:
    """Examine all photos and objects and assign them to splits.

    Raises:
        InputError: there are too few photos, or a folder of objects has no photo with an instance map.
    """
    if photos is None:
        usable, set_aside = packaged_photos(), []
    else:
        examined: list[ExaminedPhoto] = list(parallel_map(examine, images.list_images(photos), "photos"))
        set_aside = [photo.defect for photo in examined if photo.defect]
        least = 2 if "splice" in settings.kinds else 1  # host and donor of a splice must show different scenes
        usable = split_photos(examined, settings.counts, least, settings.seed)
    pairs = [pair for folder in objects for pair in list_objects(folder)]
    found = list(parallel_map(examine_objects, pairs, "photos of objects")) if pairs else []
    set_aside += [defect for defect in found if isinstance(defect, str)]
    known = {photo.scene: photo.split for photo in usable}
    sources = [source for source in found if isinstance(source, SourceObjects) and source.numbers]
    return Plan(__version__, settings, usable, split_objects(sources, known, settings.counts, settings.seed), set_aside)


def write_plan(out: Path, plan: Plan) -> None:
    """Write ``synthesis.json`` with absolute paths."""
    write_json(out / PLAN_FILE, msgspec.to_builtins(asdict(plan), enc_hook=str))


def read_plan(out: Path) -> Plan | None:
    """Read the plan of an earlier run; None if there is none.

    Raises:
        InputError: the file is damaged.
    """
    path = out / PLAN_FILE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan, dec_hook=lambda kind, value: kind(value))
    except msgspec.DecodeError as error:  # includes values of the wrong type
        raise InputError(f"{path}: is damaged ({error}); delete {out} and start again") from None


def differences(plan: Plan, settings: Settings) -> list[str]:
    """Return the names of the arguments that differ from the plan."""
    return [f.name for f in fields(Settings) if getattr(plan.settings, f.name) != getattr(settings, f.name)]
