"""The loop of `predict`: load photos, ask the student, write the pictures and a line for each. One process of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric import Fabric
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

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
from boxpromptiml.runtime.processes import loader_processes
from stage2_distill.inference.localizer import Localizer
from stage2_distill.inference.outputs import Outputs, holds, pictures, state
from stage2_distill.inference.photo_paths import printable
from stage2_distill.inference.prediction_log import PredictionLog, read
from stage2_distill.inference.tiling import localize_tiled


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


def localize_photos(
    fabric: Fabric,
    localizer: Localizer,
    names: dict[Path, str],
    out: Path,
    outputs: Outputs,
    settings: dict[str, Any],
    batch_size: int,
    workers: int,
) -> None:
    """Look at this process's photos and write what is found in them.

    Args:
        fabric: launched.
        localizer: the student.
        names: each photo with the name of its pictures.
        out: folder to write to.
        outputs: what to write beside the lists.
        settings: as `predict` keeps them in predictions.json.
        batch_size: photos or tiles a step.
        workers: loader processes.
    """
    limit, tiled = settings["threshold"], settings["tiled"]
    localize = partial(localizer.localize, flips=settings["flips"])
    before = read(out)
    mine = list(names)[fabric.global_rank :: fabric.world_size]
    left = [file for file in mine if not holds(before.get(printable(str(file))), file, names[file], outputs, out)]
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
    mask, overlay = pictures(name, outputs)
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
        **state(item.file),
    }


def _annotation(found: Mask) -> dict[str, Any]:
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    (x1, x2), (y1, y2) = ((int(places[0]), int(places[-1]) + 1) for places in (columns, rows))
    box_xywh = [x1, y1, x2 - x1, y2 - y1]
    return {"segmentation": run_lengths(found), "bbox": box_xywh, "area": int(found.sum()), "iscrowd": 0}
