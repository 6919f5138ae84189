"""The command ``boxpromptiml calibrate``: choose the threshold that suits a student best, and store both."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from boxpromptiml import __version__
from boxpromptiml.core.limits import Count, Share, Workers, within_limits
from boxpromptiml.runtime.devices import existing_devices
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
    half: bool = False,
    batch_size: Count = 16,
    workers: Workers = 2,
    accelerator: str = "auto",
    overwrite: bool = False,
) -> int:
    """Choose a student's threshold and save both, ready for `predict`, `Localizer.load` and the Hugging Face hub.

    The threshold, in steps of 0.01, is the one with the best F1: the mean over the manipulated images of the caches'
    val splits, at the student's size; with `false_alarms`, the best that keeps authentic images as clean. Where people
    drew boxes only, pseudo-masks are all there is to compare with.

    Args:
        caches: folders that `boxpromptiml pseudomasks` wrote.
        out: folder to write model.safetensors, config.json and a model card to; calibration.json there names the images
            that were skipped.
        checkpoint: a .ckpt file that `boxpromptiml fit` wrote, or a saved student; by default the one that comes with
            the package.
        against: pseudo_mask, or truth, which leaves out images that have none.
        false_alarms: largest share of the pixels of authentic images that may be marked, on average over those of the
            val splits. Lower thresholds are not chosen, however good their F1.
        half: write weights in 16 bits.
        batch_size: images a step.
        workers: loader processes.
        accelerator: cpu, gpu, or auto.
        overwrite: replace another student in the folder, or this one as calibrated otherwise.

    Returns:
        0, or 3 when manipulated images were skipped because their truth is empty.

    Raises:
        InputError: a cache has nothing to compare with, or the folder holds such a student or a run at work.
    """
    from lightning.fabric import Fabric  # seconds to import, and the help needs none of it

    from stage2_distill.evaluation.threshold_choice import by_threshold, chosen
    from stage2_distill.inference.localizer import Localizer, load_named

    localizer = load_named(checkpoint)
    with existing_devices(accelerator):
        device = Fabric(accelerator=accelerator, devices=1).device
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
        scores, alarms, lost = by_threshold(localizer, caches, against, batch_size, workers)
        threshold, calibration = chosen(scores, alarms, against, false_alarms)
        Localizer.from_student(localizer.student.cpu(), threshold, calibration).save(out, half)
        write_json(out / CHOICE, {"threshold": threshold, "calibration": calibration, "set_aside": lost})
        for image in lost:
            print(f"skipped: {image}: manipulated, and its truth is empty; correct its mask")
        print(f"threshold {threshold:g}: {calibration}\nsaved: {out}")
        return 3 if lost else 0
