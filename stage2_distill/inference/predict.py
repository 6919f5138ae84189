"""The command ``boxpromptiml predict``: probability masks at the photos' own size, overlays, and lists of it all."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from boxpromptiml import __version__
from boxpromptiml.core.limits import Count, Threshold, Workers, within_limits
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.devices import launched
from stage2_distill.inference import released
from stage2_distill.inference.outputs import Outputs
from stage2_distill.inference.photo_paths import photo_names, printable
from stage2_distill.inference.prediction_log import merge, take_up

BRIEF = ("file", "mask", "overlay", "score", "area")
"""What ``predictions.json`` holds of a line of ``predictions.jsonl``."""


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
        backend: torch, or onnx for ONNX Runtime (extra `export`), which is faster on a CPU and converts each student
            once.
        batch_size: photos or tiles a step; by default 1 on a CPU, where more gain nothing, and 8 on a GPU.
        workers: threads that read, ask the student and write, each with a step of its own; by default one
            more than there are cores, since they wait for the disk as well, and at most 8.
        accelerator: cpu, gpu, or auto.
        devices: processes on this machine, each with a device of its own.
        num_nodes: machines, when started by torchrun or SLURM.
        overwrite: replace predictions of another student or of other settings that the folder holds.

    Returns:
        0, or 3 when photos were skipped.

    Raises:
        InputError: there is no photo or no student, or the folder holds such predictions or a run at work.
    """
    names, remarks = photo_names(images if isinstance(images, list) else [images])

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
    with take_up(out, settings, overwrite) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            for remark in remarks:
                print(remark)
        fabric.barrier()
        localize_photos(fabric, localizer, names, out, outputs, settings, batch_size, workers)
        set_aside = _summarize(out, list(names), checkpoint, settings) if fabric.is_global_zero else 0
    fabric.barrier()
    return 3 if set_aside else 0  # of the first process alone; Lightning kills it for what others return


def _summarize(out: Path, files: list[Path], checkpoint: str, settings: dict[str, Any]) -> int:
    """Put all processes' lines together and write what is made of them; returns how many photos were skipped."""
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
    """A COCO detection file: one annotation, with the whole mask, for each photo in which something was found."""
    photos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, entry in enumerate(entries, 1):
        photos.append({"id": image_id, "file_name": entry["file"], "width": entry["width"], "height": entry["height"]})
        if "annotation" in entry:
            ours = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "score": entry["score"]}
            annotations.append(ours | entry["annotation"])
    return {"images": photos, "annotations": annotations, "categories": [{"id": 1, "name": "manipulated"}]}
