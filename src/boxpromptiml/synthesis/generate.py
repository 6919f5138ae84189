"""Make a data set of forgeries from photos: images, exact masks, coarse boxes and a manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from boxpromptiml import __version__, images
from boxpromptiml.boxes import as_boxes, boxes_from_mask
from boxpromptiml.manifest import write_manifest
from boxpromptiml.pictures import thumbnail
from boxpromptiml.provenance import content_hash, write_json
from boxpromptiml.records import ImageRecord, InputError, Split
from boxpromptiml.synthesis.forge import Kind, Recipe, age_host, forge, random_crop
from boxpromptiml.synthesis.photos import Examined, SourcePhoto, examine, packaged_photos, split_photos
from boxpromptiml.synthesis.processes import Spread, processes

SOURCE = "synthetic"
PLAIN = Recipe()
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class _Settings:
    """The arguments that decide what is made from given photos."""

    counts: dict[Split, int]
    size: int
    kinds: Sequence[Kind]
    authentic_share: float
    looseness: float
    recipe: Recipe
    format: str
    seed: int


@dataclass(frozen=True, slots=True)
class _Job:
    image_id: int
    split: Split
    index: int


def synthesize(
    out: Path,
    photos: Path | None = None,
    train: int = 2600,
    val: int = 200,
    test: int = 200,
    size: int = 192,
    kinds: Sequence[Kind] = ("splice", "copy_move", "removal"),
    authentic_share: float = 0.1,
    looseness: float = 0.15,
    recipe: Recipe = PLAIN,
    format: Literal["png", "jpg"] = "png",
    seed: int = 0,
    workers: int | None = None,
) -> int:
    """Make forgeries with exact masks and coarse boxes from photos.

    Writes images/, masks/, synthesis.json (how they were made) and manifest.json, last. A photo serves one split only,
    as host and as donor. The same seed gives the same files whatever the number of workers. A run that was stopped
    goes on where it was; a finished one is left as it is.

    Args:
        out: folder to write, new or made by the same command.
        photos: folder of photos, searched with its subfolders; without it, the twelve photos that scikit-image,
            scikit-learn and matplotlib ship.
        train: number of training images.
        val: number of validation images.
        test: number of test images.
        size: side of the square images in pixels.
        kinds: kinds of forgery, each equally likely.
        authentic_share: share of images that are left authentic, without mask and box.
        looseness: largest outward move of a box's side, as a share of the box.
        recipe: what forged regions look like.
        format: png keeps every trace; jpg is written at quality 92.
        seed: of everything random.
        workers: number of processes; by default one for each core, at most 8.

    Returns:
        0, or 3 when some photos could not be used; they are listed.

    Raises:
        InputError: the folder holds something else, an argument has no meaning, or there are too few photos.
    """
    counts: dict[Split, int] = {"train": train, "val": val, "test": test}
    settings = _Settings(counts, size, kinds, authentic_share, looseness, recipe, format, seed)
    _check(settings)
    arguments = json.loads(json.dumps(asdict(settings) | {"photos": photos and _listing(photos)}))
    with processes(workers or min(8, os.cpu_count() or 1)) as spread:
        log = _earlier_log(out, arguments) or _first_log(out, arguments, photos, spread)
        if not (out / "manifest.json").exists():
            _forge_all(out, _photos_of(log, photos), settings, spread)
    print(f"{sum(counts.values())} images in {out} ({', '.join(f'{name} {counts[name]}' for name in SPLITS)})")
    for reason in log["set_aside"]:
        print(f"set aside: {reason}")
    return 3 if log["set_aside"] else 0


def _check(settings: _Settings) -> None:
    recipe = settings.recipe
    if min(settings.counts.values()) < 0 or not any(settings.counts.values()):
        raise InputError(f"nothing to make: {settings.counts}; ask for one image or more, and none below zero")
    if settings.size < 32:
        raise InputError(f"size {settings.size} is too small for a region to be seen; use 32 pixels or more")
    if not 0 <= settings.authentic_share <= 1:
        raise InputError(f"authentic_share is {settings.authentic_share:g}; use a share between 0 and 1")
    if not settings.kinds and settings.authentic_share < 1:
        raise InputError("no kind of forgery is named; name one, or set authentic_share to 1")
    if not 0 < recipe.area_min <= recipe.area_max < 1:
        raise InputError(
            f"regions from {recipe.area_min:g} to {recipe.area_max:g} of the image are impossible; "
            "use 0 < area_min ≤ area_max < 1"
        )


def _listing(folder: Path) -> dict[str, str]:
    """Which photos a folder holds, without opening one: enough to notice that they are others."""
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in images.list_images(folder)}
    return {"folder": folder.name, "files": content_hash(files)}


def _earlier_log(out: Path, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The log of an earlier run with the same arguments, or None when the folder is new."""
    path = out / "synthesis.json"
    if not path.exists():
        if out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())):
            raise InputError(f"{out}: holds something that synthesize did not write; name a new or empty folder")
        return None
    try:
        log: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name, value in arguments.items() if log["arguments"].get(name) != value]
    except (ValueError, LookupError, AttributeError, TypeError):
        raise InputError(f"{path}: is damaged; delete {out} and start again") from None
    if differing:
        raise InputError(f"{out}: was made with another {', '.join(differing)}; delete it or name a new folder")
    return log


def _first_log(out: Path, arguments: dict[str, Any], folder: Path | None, spread: Spread) -> dict[str, Any]:
    """Examine and split the photos, and write down what is about to be made."""
    log: dict[str, Any] = {"version": __version__, "arguments": arguments, "photos": [], "set_aside": []}
    if folder is not None:
        examined: list[Examined] = list(spread(examine, images.list_images(folder), "photos"))
        log["set_aside"] = [photo.defect for photo in examined if photo.defect]
        least = 2 if "splice" in arguments["kinds"] else 1  # a donor shows another scene than its host
        for photo in split_photos(examined, arguments["counts"], least, arguments["seed"]):
            file = photo.path.relative_to(folder).as_posix()
            log["photos"].append({"file": file, "scene": photo.scene, "split": photo.split})
    write_json(out / "synthesis.json", log)
    return log


def _photos_of(log: dict[str, Any], folder: Path | None) -> dict[Split, list[SourcePhoto]]:
    if folder is None:
        photos = packaged_photos()
    else:
        photos = [SourcePhoto(folder / entry["file"], entry["scene"], entry["split"]) for entry in log["photos"]]
    return {split: [photo for photo in photos if photo.split == split] for split in SPLITS}


def _forge_all(out: Path, photos: dict[Split, list[SourcePhoto]], settings: _Settings, spread: Spread) -> None:
    for name in ("images", "masks"):
        (out / name).mkdir(exist_ok=True)
    places = [(split, index) for split in SPLITS for index in range(settings.counts[split])]
    jobs = [_Job(image_id, split, index) for image_id, (split, index) in enumerate(places, start=1)]
    records: list[ImageRecord] = list(spread(partial(_make, out, photos, settings), jobs, "images"))
    write_manifest(out / "manifest.json", records, description="forgeries made by boxpromptiml synthesize")


def _make(out: Path, photos: dict[Split, list[SourcePhoto]], settings: _Settings, job: _Job) -> ImageRecord:
    """Write one image and its mask, unless an earlier run did, and describe it."""
    seed = np.random.SeedSequence(settings.seed, spawn_key=(SPLITS.index(job.split), job.index))
    rng, drawing = (np.random.default_rng(child) for child in seed.spawn(2))
    authentic = bool(rng.random() < settings.authentic_share)
    kind = None if authentic else settings.kinds[int(rng.integers(len(settings.kinds)))]
    name = f"{job.split}-{job.index:06d}"
    image_path = out / "images" / f"{name}.{settings.format}"
    mask_path = None if authentic else out / "masks" / f"{name}.png"
    if not image_path.exists():
        of_split = photos[job.split]
        host = of_split[job.index * len(of_split) // settings.counts[job.split]]  # even use, and each decoded once
        photo, mask = _content(kind, host, of_split, rng, settings)
        if mask is not None and mask_path is not None:
            images.write_mask(mask_path, mask)
        images.write_photo(image_path, photo)  # last: where there is an image, there is its mask
    return ImageRecord(
        image_id=job.image_id,
        path=image_path,
        width=settings.size,
        height=settings.size,
        boxes_xyxy=(
            as_boxes([])
            if mask_path is None
            else boxes_from_mask(images.read_mask(mask_path), drawing, settings.looseness)
        ),
        split=job.split,
        source=SOURCE,
        mask_path=mask_path,
        authentic=authentic,
        kind=kind,
    )


def _content(
    kind: Kind | None, host: SourcePhoto, photos: list[SourcePhoto], rng: np.random.Generator, settings: _Settings
) -> tuple[images.Photo, images.Mask | None]:
    """A photo forged in the given way with its mask, or an authentic one without."""
    photo = age_host(_crop(host, settings.size, rng), rng, settings.recipe)
    if kind is None:
        return photo, None
    donor = None
    if kind == "splice":
        others = [other for other in photos if other.scene != host.scene]
        donor = _crop(others[rng.integers(len(others))], settings.size, rng)
    forgery = forge(kind, photo, donor, rng, settings.recipe)
    return forgery.photo, forgery.mask


def _crop(photo: SourcePhoto, size: int, rng: np.random.Generator) -> images.Photo:
    return random_crop(_working_copy(photo.path, 8 * size), size, rng)


@lru_cache(maxsize=16)
def _working_copy(path: Path, longest_side: int) -> images.Photo:
    """A decoded photo, kept for the next image; bounded in size, so that sixteen fit beside those of other workers."""
    return thumbnail(images.read_photo(path), longest_side)
