"""The command ``synthesize``: a data set of forgeries with exact masks, coarse boxes and a manifest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.core.limits import Count, ForgerySide, Seed, Share, Whole, within_limits
from boxpromptiml.core.records import ImageRecord, InputError, Split
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.runtime.processes import ParallelMap, processes
from boxpromptiml.runtime.provenance import file_sha256
from boxpromptiml.synthesis import recipe as recipes
from boxpromptiml.synthesis.forger import Forger
from boxpromptiml.synthesis.objects import not_looked_at
from boxpromptiml.synthesis.plan import (
    PLAN_FILE,
    SPLITS,
    Plan,
    Settings,
    differences,
    listing,
    make_plan,
    read_plan,
    write_plan,
)
from boxpromptiml.synthesis.recipe import KINDS, Kind, Recipe

SOURCE = "synthetic"
DEFAULT = Recipe()


@dataclass(frozen=True, slots=True)
class _Job:
    image_id: int
    split: Split
    index: int


@within_limits
def synthesize(
    out: Path,
    photos: Path | None = None,
    objects: Sequence[Path] = (),
    train: Whole = 2600,
    val: Whole = 200,
    test: Whole = 200,
    size: ForgerySide = 192,
    kinds: Sequence[Kind] = KINDS,
    authentic_share: Share = 0.1,
    looseness: Share = 0.15,
    recipe: Recipe = DEFAULT,
    format: Literal["png", "jpg"] = "png",
    stream_train: bool = False,
    seed: Seed = 0,
    workers: Count | None = None,
) -> int:
    """Create forgeries with exact masks and coarse boxes from photos.

    Writes images/, masks/, synthesis.json (how they were made) and, last, manifest.json. Each photo is used in one
    split only, as host and as donor. The same seed gives the same files, regardless of the number of workers. An
    interrupted run is resumed; a finished one is left as it is.

    Args:
        out: output folder, new or written by the same command.
        photos: folder of photos, including its subfolders; by default the twelve photos that scikit-image, scikit-learn
            and matplotlib ship.
        objects: folders of objects to splice. Each has images/ and, with the same file names, instances/ with integer
            instance maps: 0 for the background and one number per object, as COCO's tools write them.
        train: number of training images.
        val: number of validation images.
        test: number of test images.
        size: side of the square images in pixels.
        kinds: kinds of forgery, with equal probability.
        authentic_share: fraction of images that stay authentic, without mask and boxes.
        looseness: largest outward move of a side, as a fraction of the box's width or height.
        recipe: parameters of the forgeries; a YAML file, or single fields such as --recipe.area "[0.02, 0.3]".
        format: png keeps all traces; jpg is written with quality 92.
        stream_train: write no training images. The photos are split as usual, and a ForgeryStream creates images from
            them during training (boxpromptiml.synthesis.stream).
        seed: random seed for the whole run.
        workers: number of processes; by default one per core, at most 8.

    Returns:
        0, or 3 if some photos were skipped; they are listed.

    Raises:
        InputError: the folder has other content, an argument is invalid, or there are too few photos.
    """
    settings = Settings(
        counts={"train": train, "val": val, "test": test},
        size=size,
        kinds=tuple(kinds),
        authentic_share=authentic_share,
        looseness=looseness,
        recipe=recipe,
        format=format,
        seed=seed,
        stream_train=stream_train,
        photos=None if photos is None else listing(photos),
        objects=tuple(listing(folder) for folder in objects),
    )
    _check(settings)
    with processes(workers or min(8, os.cpu_count() or 1)) as parallel_map:
        plan = _earlier_plan(out, settings)
        if plan is None:
            plan = make_plan(settings, photos, objects, parallel_map)
            write_plan(out, plan)
        if not (out / "manifest.json").exists():
            _forge_all(out, settings, parallel_map)
    for remark in _not_looked_at(photos, objects):
        print(remark)
    print(f"{len(_jobs(settings))} images in {out} ({', '.join(f'{s} {_written(settings, s)}' for s in SPLITS)})")
    for reason in plan.set_aside:
        print(f"skipped: {reason}")
    return 3 if plan.set_aside else 0


def _not_looked_at(photos: Path | None, objects: Sequence[Path]) -> list[str]:
    """Describe ignored files in the folders of photos and objects."""
    remark = "" if photos is None else images.scan_folder(photos).remark()
    return [*([remark] if remark else []), *(line for folder in objects for line in not_looked_at(folder))]


def _check(settings: Settings) -> None:
    if not any(settings.counts.values()):
        raise InputError(f"nothing to make: {settings.counts}; request at least one image")
    if not settings.kinds and settings.authentic_share < 1:
        raise InputError("no kind of forgery is given; give one with --kinds, or set authentic_share to 1")
    recipes.check(settings.recipe)


def _earlier_plan(out: Path, settings: Settings) -> Plan | None:
    """Return the plan of an earlier run with the same arguments, or None if the folder is new."""
    plan = read_plan(out)
    if plan is None:
        if out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())):
            raise InputError(f"{out}: contains files that synthesize did not write; choose a new or empty folder")
        return None
    if differing := differences(plan, settings):
        raise InputError(f"{out}: was made with another {', '.join(differing)}; delete it or choose a new folder")
    return plan


def _written(settings: Settings, split: Split) -> int:
    return 0 if split == "train" and settings.stream_train else settings.counts[split]


def _jobs(settings: Settings) -> list[_Job]:
    places = [(split, index) for split in SPLITS for index in range(_written(settings, split))]
    return [_Job(image_id, split, index) for image_id, (split, index) in enumerate(places, start=1)]


def _forge_all(out: Path, settings: Settings, parallel_map: ParallelMap) -> None:
    for name in ("images", "masks"):
        (out / name).mkdir(exist_ok=True)
    make = partial(_make, out, file_sha256(out / PLAN_FILE))
    records: list[ImageRecord] = list(parallel_map(make, _jobs(settings), "images"))
    write_manifest(out / "manifest.json", records, description="forgeries made by boxpromptiml synthesize")


@lru_cache(maxsize=1)
def _opened(out: Path, digest: str) -> tuple[Settings, dict[Split, Forger]]:
    """Load the plan once per process, so that jobs do not carry the list of photos."""
    plan = read_plan(out)
    assert plan is not None  # written before any job starts
    settings = plan.settings
    return settings, {
        split: Forger(plan.photos_of(split), plan.objects_of(split), settings.size, settings.recipe) for split in SPLITS
    }


def _make(out: Path, digest: str, job: _Job) -> ImageRecord:
    """Write one image and its mask, unless an earlier run did, and return its record."""
    settings, forgers = _opened(out, digest)
    seed = np.random.SeedSequence(settings.seed, spawn_key=(SPLITS.index(job.split), job.index))
    rng, drawing = (np.random.default_rng(child) for child in seed.spawn(2))
    authentic = bool(rng.random() < settings.authentic_share)
    kind = None if authentic else settings.kinds[int(rng.integers(len(settings.kinds)))]
    name = f"{job.split}-{job.index:06d}"
    image_path = out / "images" / f"{name}.{settings.format}"
    mask_path = None if authentic else out / "masks" / f"{name}.png"
    if not image_path.exists():
        forger = forgers[job.split]
        host = forger.photos[job.index * len(forger.photos) // settings.counts[job.split]]  # equal use, decoded once
        photo, mask = forger.make(kind, host, rng)
        if mask is not None and mask_path is not None:
            images.write_mask(mask_path, mask)
        images.write_photo(image_path, photo)  # after the mask: an existing image implies an existing mask
    if mask_path is None:
        boxes = as_boxes([])
    else:
        boxes = boxes_from_mask(images.read_mask(mask_path), drawing, settings.looseness)
    return ImageRecord(
        image_id=job.image_id,
        path=image_path,
        width=settings.size,
        height=settings.size,
        boxes_xyxy=boxes,
        split=job.split,
        source=SOURCE,
        mask_path=mask_path,
        authentic=authentic,
        kind=kind,
    )
