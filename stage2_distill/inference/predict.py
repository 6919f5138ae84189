"""Masks for new photos: probability masks at the photos' own size, overlays, and lists of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric import Fabric
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from boxpromptiml import __version__
from boxpromptiml.core.limits import Count, Threshold, Workers, within_limits
from boxpromptiml.images import (
    JPEG_SIDE,
    ImageError,
    Mask,
    Photo,
    Probability,
    read_photo,
    resize_photo,
    resize_probability,
    visualization,
    write_photo,
    write_probability,
)
from boxpromptiml.images.regions import find_regions, run_lengths
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.devices import existing_devices
from boxpromptiml.runtime.processes import loader_processes
from stage2_distill.inference import released
from stage2_distill.inference.localizer import Localizer, load_named
from stage2_distill.inference.photo_paths import photo_names, printable
from stage2_distill.inference.prediction_log import PredictionLog, merge, read, take_up
from stage2_distill.inference.tiling import localize_tiled

BRIEF = ("file", "mask", "overlay", "score", "area")
"""What ``predictions.json`` holds of a line of ``predictions.jsonl``."""


@dataclass(frozen=True)
class Outputs:
    """What is written beside the lists.

    Attributes:
        masks: masks/NAME.png, 8 bit, 255 = certainly manipulated, at the photo's own size.
        overlays: overlays/NAME.jpg, the photo with the manipulated region tinted.
        coco: coco.json with a mask in run-length encoding for each photo in which something was found.
    """

    masks: bool = True
    overlays: bool = True
    coco: bool = False


@dataclass(frozen=True, slots=True)
class _Item:
    """A photo from a loader worker: as read, and as the student takes it (itself for tiles); or why there is none."""

    file: Path
    photo: Photo | None
    seen: Photo | None
    problem: str = ""


class _Photos(Dataset[_Item]):
    def __init__(self, files: list[Path], size: int | None) -> None:
        self.files = files
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> _Item:
        file = self.files[index]
        try:
            photo = read_photo(file)
        except ImageError as error:
            return _Item(file, None, None, str(error))
        return _Item(file, photo, None if self.size is None else resize_photo(photo, self.size, self.size))


@within_limits
def predict(
    images: Path | list[Path],
    out: Path,
    checkpoint: str = released.NAME,
    threshold: Threshold | None = None,
    tiled: bool = False,
    flips: bool = False,
    outputs: Outputs = Outputs(),
    batch_size: Count = 8,
    workers: Workers = 2,
    accelerator: str = "auto",
    devices: Count = 1,
    num_nodes: Count = 1,
    overwrite: bool = False,
) -> int:
    """Localize manipulations in photos with a trained student.

    Writes masks/NAME.png, overlays/NAME.jpg, predictions.jsonl with a line for each photo (image score, share of
    manipulated pixels, regions as boxes and polygons) and predictions.json with all of it but the regions. Photos that
    cannot be read are listed there too, and the exit code is then 3. Stopped, the same command goes on where it was;
    photos that have not changed are not looked at again.

    Args:
        images: a photo, a folder of photos, a quoted pattern such as 'photos/**/*.jpg', a .txt file with a path on each
            line, or a list of these such as --images '[photo.jpg, folder]'.
        out: folder to write to.
        checkpoint: released for the student that comes with the package, a .ckpt file that `boxpromptiml fit` wrote, a
            folder with a calibrated or saved student, or its OWNER/NAME on the Hugging Face hub.
        threshold: probability above which a pixel counts as manipulated; by default the one stored with the student, or
            0.5.
        tiled: look at photos at their own resolution, in overlapping tiles, instead of shrunk to the student's size.
        flips: average the answers for each photo and its two mirror images; three times slower, a little better.
        outputs: what to write beside the lists.
        batch_size: photos or tiles a step.
        workers: loader processes.
        accelerator: cpu, gpu, or auto.
        devices: processes on this machine, each with a device of its own.
        num_nodes: machines, when started by torchrun or SLURM.
        overwrite: replace predictions of another student or of other settings that the folder holds.

    Returns:
        0, or 3 when photos were set aside.

    Raises:
        InputError: there is no photo or no student, or the folder holds such predictions or a run at work.
    """
    names, remarks = photo_names(images if isinstance(images, list) else [images])
    localizer = load_named(checkpoint)
    limit = localizer.threshold if threshold is None else threshold
    settings = {
        "weights_sha256": localizer.weights_sha256(),
        "threshold": limit,
        "tiled": tiled,
        "flips": flips,
        "outputs": asdict(outputs),
        "package_version": __version__,
    }
    with existing_devices(accelerator, devices):
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes)
    fabric.launch()
    with take_up(out, settings, overwrite) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            for remark in remarks:
                print(remark)
        fabric.barrier()
        _predict(fabric, localizer, names, out, outputs, settings, batch_size, workers)
        set_aside = _summarize(out, list(names), checkpoint, settings) if fabric.is_global_zero else 0
    fabric.barrier()
    return 3 if set_aside else 0  # of the first process alone; Lightning kills it for what others return


def _predict(
    fabric: Fabric,
    localizer: Localizer,
    names: dict[Path, str],
    out: Path,
    outputs: Outputs,
    settings: dict[str, Any],
    batch_size: int,
    workers: int,
) -> None:
    """Look at this process's photos."""
    limit, tiled = settings["threshold"], settings["tiled"]
    localize = partial(localizer.localize, flips=settings["flips"])
    before = read(out)
    mine = list(names)[fabric.global_rank :: fabric.world_size]
    left = [file for file in mine if not _holds(before.get(printable(str(file))), file, names[file], outputs, out)]
    fabric.barrier()  # all have read before anybody writes
    loader = DataLoader(
        _Photos(left, None if tiled else localizer.student.image_size),
        batch_size=1 if tiled else batch_size,
        collate_fn=list,
        **loader_processes(workers if len(left) > batch_size else 0, __name__),  # starting them would take longer
    )
    log = PredictionLog(out, fabric.global_rank)
    localizer.to(fabric.device)
    bar = tqdm(total=len(mine), initial=len(mine) - len(left), unit="image", disable=not fabric.is_global_zero)
    with bar:
        for items in loader:
            for item, probability in _localized(localize, localizer.student.image_size, items, batch_size):
                log.add(_write(out, names[item.file], item, probability, limit, outputs))
            for item in items:
                if item.photo is None:
                    log.add({"file": printable(str(item.file)), "reason": printable(item.problem)})
            bar.update(len(items))
    log.close()
    fabric.barrier()


def _localized(
    localize: Callable[[list[Photo]], list[Probability]], side: int, items: list[_Item], batch_size: int
) -> Iterator[tuple[_Item, Probability]]:
    """Readable items with their probability at the photo's own size."""
    shrunk = [(item, item.seen) for item in items if item.seen is not None]
    if shrunk:
        small = localize([seen for _, seen in shrunk])
        for (item, _), probability in zip(shrunk, small, strict=True):
            assert item.photo is not None
            yield item, resize_probability(probability, item.photo.shape[1], item.photo.shape[0])
    for item in items:
        if item.photo is not None and item.seen is None:
            yield item, localize_tiled(item.photo, side, localize, batch_size)


def _write(
    out: Path, name: str, item: _Item, probability: Probability, threshold: float, outputs: Outputs
) -> dict[str, Any]:
    """Write a photo's pictures and return its line."""
    assert item.photo is not None
    mask, overlay = _pictures(name, outputs)
    for path in (mask, overlay):
        if path is not None:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
    if mask is not None:
        write_probability(out / mask, probability)
    if overlay is not None:
        tinted = visualization.overlay(item.photo, probability, threshold)
        write_photo(out / overlay, visualization.thumbnail(tinted, JPEG_SIDE))
    found = probability > threshold
    height, width = found.shape
    return {
        "file": printable(str(item.file)),
        "mask": mask,
        "overlay": overlay,
        "score": float(probability.max()),
        "area": float(found.mean()),
        "width": width,
        "height": height,
        "regions": [asdict(region) for region in find_regions(probability, threshold)],
        **({"annotation": _annotation(found)} if outputs.coco and found.any() else {}),
        **_state(item.file),
    }


def _pictures(name: str, outputs: Outputs) -> tuple[str | None, str | None]:
    return f"masks/{name}.png" if outputs.masks else None, f"overlays/{name}.jpg" if outputs.overlays else None


def _state(file: Path) -> dict[str, int]:
    status = file.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _holds(entry: dict[str, Any] | None, file: Path, name: str, outputs: Outputs, out: Path) -> bool:
    """Whether a line of an earlier run still says what this run would."""
    if entry is None or "reason" in entry or not file.exists():
        return False
    written = _pictures(name, outputs)
    same = (entry["mask"], entry["overlay"]) == written and _state(file).items() <= entry.items()
    return same and all((out / path).exists() for path in written if path is not None)


def _summarize(out: Path, files: list[Path], checkpoint: str, settings: dict[str, Any]) -> int:
    """Put all processes' lines together and write what is made of them; returns how many photos were set aside."""
    of_file = {entry["file"]: entry for entry in merge(out)}
    entries = [of_file[file] for file in sorted(printable(str(file)) for file in files)]
    done = [entry for entry in entries if "reason" not in entry]
    set_aside = [entry for entry in entries if "reason" in entry]
    provenance.write_json(
        out / "predictions.json",
        {
            "images": [{key: entry[key] for key in BRIEF} for entry in done],
            "set_aside": set_aside,
            "checkpoint": checkpoint,
            **settings,
            "environment": provenance.environment(),
        },
    )
    if settings["outputs"]["coco"]:
        provenance.write_json(out / "coco.json", _coco(done))
    print(f"{len(done)} photos localized: {out / 'predictions.jsonl'}, {out / 'predictions.json'}")
    for entry in set_aside:
        print(f"set aside: {entry['reason']}")
    return len(set_aside)


def _coco(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """A COCO detection file: one annotation, with the whole mask, for each photo in which something was found."""
    photos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, entry in enumerate(entries, 1):
        photos.append({"id": image_id, "file_name": entry["file"], "width": entry["width"], "height": entry["height"]})
        if "annotation" in entry:
            ours = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "score": entry["score"]}
            annotations.append(ours | entry["annotation"])
    return {"images": photos, "annotations": annotations, "categories": [{"id": 1, "name": "manipulated"}]}


def _annotation(found: Mask) -> dict[str, Any]:
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    (x1, x2), (y1, y2) = ((int(places[0]), int(places[-1]) + 1) for places in (columns, rows))
    box_xywh = [x1, y1, x2 - x1, y2 - y1]
    return {"segmentation": run_lengths(found), "bbox": box_xywh, "area": int(found.sum()), "iscrowd": 0}
