"""The main loop of `predict`, run in each process: read photos, run the student, write pictures and log entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from boxpromptiml.core.records import InputError
from boxpromptiml.images import (
    JPEG_SIDE,
    ImageError,
    Mask,
    Photo,
    read_upright,
    resize_picture,
    visualization,
    write_photo,
    write_probability,
)
from boxpromptiml.images.connected_regions import find_regions, run_lengths
from stage2_distill.inference.localizer import Localizer
from stage2_distill.inference.outputs import Outputs, holds, pictures, state
from stage2_distill.inference.photo_paths import printable
from stage2_distill.inference.prediction_log import PredictionLog, read
from stage2_distill.inference.scored_map import ScoredMap
from stage2_distill.inference.tiling import localize_tiled

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from boxpromptiml.runtime.devices import OneProcess

GPU_BATCH = 8
MOST_WORKERS = 8
"""Default limit of threads: beyond it they mostly wait for the GIL."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Processing of photos from file to log entry, run in a thread.

    Reading, inference and writing release the GIL, so threads overlap them.
    """

    localizer: Localizer
    names: dict[Path, str]
    out: Path
    outputs: Outputs
    settings: dict[str, Any]
    batch_size: int
    log: PredictionLog

    def __call__(self, files: list[Path]) -> int:
        """Process photos, in one batch unless they are tiled; return the number of files."""
        read_ones: list[tuple[Path, Image.Image]] = []
        for file in files:
            try:
                read_ones.append((file, read_upright(file).rgb()))
            except ImageError as error:
                self.log.add({"file": printable(str(file)), "reason": printable(str(error))})
        for file, picture, found in self._localized(read_ones):
            self.log.add(self._write(file, picture, found))
        return len(files)

    def _localized(self, read_ones: list[tuple[Path, Image.Image]]) -> Iterator[tuple[Path, Image.Image, ScoredMap]]:
        """Yield photos with their maps at their own size."""
        localize: Callable[[list[Photo]], list[ScoredMap]] = partial(
            self.localizer.localize_scored, flips=self.settings["flips"]
        )
        side = self.localizer.student.image_size
        if self.settings["tiled"]:
            for file, picture in read_ones:
                yield file, picture, localize_tiled(np.asarray(picture), side, localize, self.batch_size)
        elif read_ones:
            small = localize([resize_picture(picture, side, side) for _, picture in read_ones])
            for (file, picture), found in zip(read_ones, small, strict=True):
                yield file, picture, found.resized(*picture.size)

    def _write(self, file: Path, picture: Image.Image, scored: ScoredMap) -> dict[str, Any]:
        """Write a photo's pictures and return its log entry."""
        probability, threshold = scored.probability, self.settings["threshold"]
        mask, overlay = pictures(self.names[file], self.outputs)
        for path in (mask, overlay):
            if path is not None:
                (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        if mask is not None:
            write_probability(self.out / mask, probability)
        if overlay is not None:
            tinted = visualization.overlay(np.asarray(picture), probability, threshold)
            write_photo(self.out / overlay, visualization.thumbnail(tinted, JPEG_SIDE))
        found = probability > threshold
        regions = [asdict(region) for region in find_regions(probability, threshold)] if self.outputs.regions else None
        return {
            "file": printable(str(file)),
            "mask": mask,
            "overlay": overlay,
            "score": scored.score,
            "area": float(found.mean()),
            "width": picture.width,
            "height": picture.height,
            **({} if regions is None else {"regions": regions}),
            **({"annotation": _annotation(found)} if self.outputs.coco and found.any() else {}),
            **state(file),
        }


def localize_photos(
    fabric: Fabric | OneProcess,
    localizer: Localizer,
    names: dict[Path, str],
    out: Path,
    outputs: Outputs,
    settings: dict[str, Any],
    batch_size: int | None = None,
    workers: int | None = None,
) -> None:
    """Process this process's share of the photos.

    Args:
        fabric: launched.
        localizer: the student.
        names: photo → name of its pictures.
        out: output folder.
        outputs: what to write in addition to the lists.
        settings: as stored by `predict` in predictions.json.
        batch_size: photos or tiles per batch; by default 1 on a CPU, where one thread per photo is faster than a batch
            shared by several threads, and `GPU_BATCH` elsewhere.
        workers: number of threads, each with its own batch; by default one more than torch's threads, because they also
            wait for the disk, and at most `MOST_WORKERS`.

    Raises:
        InputError: the folder holds the pictures of another photo under one of the names.
    """
    before = read(out)
    _refuse_foreign(before, names, outputs, out)
    mine = list(names)[fabric.global_rank :: fabric.world_size]
    left = [file for file in mine if not holds(before.get(printable(str(file))), file, names[file], outputs, out)]
    fabric.barrier()  # all processes have read the log before any of them writes
    size = batch_size or (1 if fabric.device.type == "cpu" else GPU_BATCH)
    step = 1 if settings["tiled"] else size
    steps = [left[first : first + step] for first in range(0, len(left), step)]
    log = PredictionLog(out, fabric.global_rank)
    work = _Work(localizer.to(fabric.device), names, out, outputs, settings, size, log)
    bar = tqdm(total=len(mine), initial=len(mine) - len(left), unit="image", disable=not fabric.is_global_zero)
    with bar, _threads(workers, len(steps)) as pool:
        for done in as_completed([pool.submit(work, files) for files in steps]):
            bar.update(done.result())
    log.close()
    fabric.barrier()


def _refuse_foreign(before: dict[str, dict[str, Any]], names: dict[Path, str], outputs: Outputs, out: Path) -> None:
    """Reject an earlier photo whose pictures this run would replace, because its log entry would remain."""
    files = {printable(str(file)): file for file in names}
    owner = {picture: file for file, name in names.items() for picture in pictures(name, outputs) if picture}
    for earlier, entry in before.items():
        if earlier in files:
            continue
        for picture in (entry.get("mask"), entry.get("overlay")):
            if picture in owner and owner[picture].resolve() != Path(earlier).resolve():
                raise InputError(
                    f"{out / picture}: belongs to {earlier}, which was localized earlier; choose another --out folder "
                    f"for {owner[picture]}, or pass --overwrite true to start again"
                )


@contextmanager
def _threads(workers: int | None, steps: int) -> Iterator[ThreadPoolExecutor]:
    """Start threads that share the cores, each with a part of torch's threads.

    If one fails, or the user interrupts the program, running batches are finished and no other is started.
    """
    cores = torch.get_num_threads()
    count = max(1, min(steps, min(cores + 1, MOST_WORKERS) if workers is None else workers))
    pool = ThreadPoolExecutor(count, initializer=lambda: torch.set_num_threads(max(1, cores // count)))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)


def _annotation(found: Mask) -> dict[str, Any]:
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    (x1, x2), (y1, y2) = ((int(places[0]), int(places[-1]) + 1) for places in (columns, rows))
    box_xywh = [x1, y1, x2 - x1, y2 - y1]
    return {"segmentation": run_lengths(found), "bbox": box_xywh, "area": int(found.sum()), "iscrowd": 0}
