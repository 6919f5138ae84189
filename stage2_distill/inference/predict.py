"""The command ``boxpromptiml predict``: masks, overlays and lists of regions for new photos."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from boxpromptiml import __version__
from boxpromptiml.core.limits import Count, Threshold, Workers, within_limits
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.devices import launched
from boxpromptiml.runtime.imports import quick_imports
from stage2_distill.inference import released
from stage2_distill.inference.outputs import Outputs
from stage2_distill.inference.photo_paths import photo_names, printable
from stage2_distill.inference.prediction_log import merge, open_log

BRIEF = ("file", "mask", "overlay", "score", "area")
"""Keys of an entry in ``predictions.jsonl`` that are also in ``predictions.json``."""


@within_limits
def predict(
    images: Path | list[Path],
    out: Path,
    checkpoint: str = released.NAME,
    threshold: Threshold | None = None,
    tiled: bool = False,
    flips: bool = False,
    outputs: Outputs = Outputs(),  # noqa: B008 (frozen)
    backend: released.Backend = "torch",
    batch_size: Count | None = None,
    workers: Workers | None = None,
    accelerator: str = "auto",
    devices: Count = 1,
    num_nodes: Count = 1,
    overwrite: bool = False,
) -> int:
    """Localize manipulations in photos with a trained student.

    Writes masks/NAME.png, overlays/NAME.jpg, predictions.jsonl with a line per photo (image score, manipulated
    fraction, regions as boxes and polygons) and predictions.json with the same except the regions. Unreadable photos
    are listed there too, and the exit code is then 3. After an interruption the same command continues; unchanged
    photos are not processed again.

    Args:
        images: a photo, a folder of photos, a quoted pattern such as 'photos/**/*.jpg', a .txt file with one path per
            line, or a list of these such as --images '[photo.jpg, folder]'.
        out: output folder.
        checkpoint: released for the student that comes with the package, a .ckpt file written by `boxpromptiml fit`, a
            folder with a calibrated or saved student, or its OWNER/NAME on the Hugging Face hub.
        threshold: probability above which a pixel counts as manipulated; by default the one stored with the student, or
            0.5.
        tiled: process photos at their own resolution, in overlapping tiles, instead of shrunk to the student's size.
        flips: average the predictions for each photo and its two mirror images; three times slower, slightly better.
        outputs: what to write in addition to the lists.
        backend: torch, or onnx for ONNX Runtime (extra `export`), which is faster on a CPU and converts each student
            once.
        batch_size: photos or tiles per batch; by default 1 on a CPU, where larger batches are no faster, and 8 on a
            GPU.
        workers: threads that read photos, run the student and write results, each with its own batch; by default one
            more than there are cores, because they also wait for the disk, and at most 8.
        accelerator: cpu, gpu, or auto.
        devices: processes on this machine, each with its own device.
        num_nodes: number of machines, when started by torchrun or SLURM.
        overwrite: replace predictions of another student or with other settings in the folder.

    Returns:
        0, or 3 if photos were skipped.

    Raises:
        InputError: there is no photo or no student, or the folder holds other predictions or is in use.
    """
    names, remarks = photo_names(images if isinstance(images, list) else [images])

    with quick_imports():
        from stage2_distill.inference.engine import localize_photos
        from stage2_distill.inference.localizer import load_named
    localizer = load_named(checkpoint, backend)
    limit = localizer.threshold if threshold is None else threshold
    settings = {
        "weights_sha256": localizer.weights_sha256(),
        "threshold": limit,
        "tiled": tiled,
        "flips": flips,
        "outputs": asdict(outputs),
        "backend": backend,
        "package_version": __version__,
    }
    if backend == "onnx" and accelerator == "auto":
        accelerator = "cpu"
    fabric = launched(accelerator, devices, num_nodes)
    with open_log(out, settings, overwrite) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            for remark in remarks:
                print(remark)
        fabric.barrier()
        localize_photos(fabric, localizer, names, out, outputs, settings, batch_size, workers)
        set_aside = _summarize(out, list(names), checkpoint, settings) if fabric.is_global_zero else 0
    fabric.barrier()
    return 3 if set_aside else 0  # nonzero only in the first process, which Lightning kills if others return nonzero


def _summarize(out: Path, files: list[Path], checkpoint: str, settings: dict[str, Any]) -> int:
    """Merge the log entries of all processes and write the lists; return the number of skipped photos."""
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
        print(f"skipped: {entry['reason']}")
    return len(set_aside)


def _coco(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Build a COCO detection file with one annotation, the whole mask, per photo in which something was found."""
    photos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, entry in enumerate(entries, 1):
        photos.append({"id": image_id, "file_name": entry["file"], "width": entry["width"], "height": entry["height"]})
        if "annotation" in entry:
            ours = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "score": entry["score"]}
            annotations.append(ours | entry["annotation"])
    return {"images": photos, "annotations": annotations, "categories": [{"id": 1, "name": "manipulated"}]}
