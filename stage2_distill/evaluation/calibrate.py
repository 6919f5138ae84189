"""The command ``boxpromptiml calibrate``: choose the best threshold of a student, and save both."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from boxpromptiml import __version__
from boxpromptiml.core.limits import Count, Share, Side, Whole, Workers, within_limits
from boxpromptiml.runtime.devices import launched
from boxpromptiml.runtime.provenance import write_json
from boxpromptiml.runtime.run_folder import run_folder
from boxpromptiml.shards import read_index
from stage2_distill.inference import released

SETTINGS = "calibration.settings.json"
CHOICE = "calibration.json"
RESULTS = ("model.safetensors", "config.json", CHOICE)


@within_limits
def calibrate(
    caches: list[Path],
    out: Path,
    checkpoint: str = released.NAME,
    against: Literal["pseudo_mask", "truth"] = "pseudo_mask",
    false_alarms: Share = 1.0,
    image_size: Side | None = None,
    second_size: Whole | None = None,
    half: bool = False,
    batch_size: Count = 16,
    workers: Workers = 2,
    accelerator: str = "auto",
    overwrite: bool = False,
) -> int:
    """Choose a student's threshold and save both, for use by `predict`, `Localizer.load` and the Hugging Face hub.

    The threshold, in steps of 0.01, maximizes the mean F1 over the manipulated images of the caches' val splits, at the
    student's input size; `false_alarms` optionally limits the marked area of authentic images. Pseudo-masks are the
    reference if only boxes were annotated.

    Args:
        caches: folders written by `boxpromptiml pseudomasks`.
        out: folder for model.safetensors, config.json and a model card; calibration.json there lists skipped images.
        checkpoint: a .ckpt file written by `boxpromptiml fit`, or a saved student; by default the one that comes with
            the package.
        against: reference masks: pseudo_mask, or truth, which skips images without ground truth.
        false_alarms: largest allowed fraction of marked pixels, averaged over the authentic images of the val splits.
            Thresholds that exceed it are not chosen, even if their F1 is better.
        image_size: side of the saved student's input in pixels; by default the checkpoint's.
        second_size: side of its second, smaller input, whose prediction is averaged with the first; 0 for none; by
            default the checkpoint's.
        half: save weights in 16 bits.
        batch_size: images per step.
        workers: loader processes.
        accelerator: cpu, gpu, or auto.
        overwrite: replace another student in the folder, or this one with a different calibration.

    Returns:
        0, or 3 if manipulated images were skipped because their ground truth is empty.

    Raises:
        InputError: a cache has no reference masks, the second size is not the smaller one, or the folder holds another
            student or is in use.
    """
    # slow imports that --help does not need
    from stage2_distill.evaluation.threshold_choice import choose_threshold, scores_by_threshold
    from stage2_distill.inference.localizer import Localizer, load_named

    localizer = load_named(checkpoint)
    sizes = {"image_size": image_size, "second_size": second_size}
    localizer = localizer.resized({name: size for name, size in sizes.items() if size is not None})
    device = launched(accelerator, devices=1, num_nodes=1).device
    settings = {
        "weights_sha256": localizer.weights_sha256(),
        "caches": {str(cache): read_index(cache).stamp.config_hash for cache in caches},
        "against": against,
        "false_alarms": false_alarms,
        "half": half,
        "package_version": __version__,
    }
    with run_folder(out, SETTINGS, settings, RESULTS, overwrite):
        localizer.to(device)
        scores, alarms, lost = scores_by_threshold(localizer, caches, against, batch_size, workers)
        threshold, calibration = choose_threshold(scores, alarms, against, false_alarms)
        Localizer.from_student(localizer.student.cpu(), threshold, calibration).save(out, half)
        write_json(out / CHOICE, {"threshold": threshold, "calibration": calibration, "set_aside": lost})
        for image in lost:
            print(f"skipped: {image}: manipulated, but its ground truth is empty; correct its mask")
        print(f"threshold {threshold:g}: {calibration}\nsaved: {out}")
        if f"| threshold | {threshold:g} |" not in (card := out / "README.md").read_text(encoding="utf-8"):
            print(f"{card}: describes the student that was here before; correct it, or delete it and calibrate again")
        return 3 if lost else 0
