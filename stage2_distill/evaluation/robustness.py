"""The command ``boxpromptiml robustness``: a student's scores on degraded photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from boxpromptiml import __version__
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.limits import Count, Workers, within_limits
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import ManifestError, read_manifest
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.devices import existing_devices
from boxpromptiml.runtime.run_folder import run_folder
from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.data.degradations import Levels
from stage2_distill.inference import released

SETTINGS = "robustness.settings.json"
RESULTS = ("robustness.json", "robustness.md", "robustness.png")


@within_limits
def robustness(
    test_sets: dict[str, Path],
    out: Path,
    checkpoint: str = released.NAME,
    levels: Levels = Levels(),  # noqa: B008 (frozen)
    scoring: Scoring = Scoring(),  # noqa: B008 (frozen)
    batch_size: Count = 16,
    workers: Workers = 2,
    accelerator: str = "auto",
    devices: Count = 1,
    num_nodes: Count = 1,
    overwrite: bool = False,
) -> int:
    """Score a student on degraded photos (blur, noise, JPEG, resizing, gamma, sharing), level by level.

    Each degradation is applied to the photo at its own resolution, before it is resized to the student's input; noise
    is the same in every run. Scores are at the resolution of the ground truth, which is resized with the photo if a
    degradation changes its size. Writes robustness.json, robustness.md and robustness.png, and prints a table. After an
    interruption the same command continues; additional levels can be added later.

    Args:
        test_sets: name and manifest with ground truth of each set, as in '{casia1: data/full/test/casia1.json}'.
        out: output folder.
        checkpoint: released for the student that comes with the package, a .ckpt file written by `boxpromptiml fit`, a
            saved student, or its OWNER/NAME on the Hugging Face hub.
        levels: levels to score for each kind of degradation.
        scoring: options, as for `boxpromptiml test`; the threshold stored with the student is not used.
        batch_size: images per step and process.
        workers: loader processes.
        accelerator: cpu, gpu, or auto.
        devices: processes on this machine, each with its own device.
        num_nodes: number of machines, when started by torchrun or SLURM.
        overwrite: replace results of another student, other sets or other scoring options; not needed for other levels.

    Returns:
        0, or 3 if photos were skipped.

    Raises:
        InputError: a set cannot be read, or the folder holds other results or is in use.
    """
    import lightning as L  # a slow import that --help does not need
    import numpy as np

    from stage2_distill.data.test_set import scorable, unusable
    from stage2_distill.evaluation import robustness_report
    from stage2_distill.evaluation.degraded_scores import score_missing, unscored_levels, unscored_photos
    from stage2_distill.inference.localizer import load_named

    degradations = levels.degradations()
    if not test_sets or not degradations:
        raise ManifestError("nothing to score; pass test sets, such as {casia1: data/casia1.json}, and levels")
    manifests = [read_manifest(path) for path in test_sets.values()]
    sets = {name: scorable(manifest) for name, manifest in zip(test_sets, manifests, strict=True)}
    localizer = load_named(checkpoint)
    settings = _settings(localizer.weights_sha256(), test_sets, scoring)
    folder = out / "rows" / _fingerprint(settings, sets)
    files = {
        degradation: folder / f"{str(degradation or 'clean').replace(' ', '-')}.npy"
        for degradation in (None, *degradations)
    }
    with existing_devices(accelerator, devices):
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    alone = run_folder(out, SETTINGS, settings, RESULTS, overwrite) if trainer.is_global_zero else nullcontext()
    with alone:
        score_missing(files, trainer, localizer, scoring, sets, batch_size, workers)
        clean = np.load(files[None])
        degraded = {degradation: np.load(files[degradation]) for degradation in degradations}
        unscored = unscored_photos(clean, sets)
        set_aside = [reason for manifest in manifests for reason in unusable(manifest)] + unscored
        if trainer.is_global_zero:
            summary = robustness_report.summarize(clean, degraded, sets)
            not_scored = unscored_levels(clean, degraded, sets)
            _write(out, summary, scoring, levels, checkpoint, set_aside, not_scored)
            for reason in unscored:
                print(f"skipped: {reason}")
    return 3 if set_aside and trainer.is_global_zero else 0  # else Lightning kills the first process


def _settings(weights_sha256: str, test_sets: Mapping[str, Path], scoring: Scoring) -> dict[str, Any]:
    """Return what determines the results of every level."""
    return {
        "weights_sha256": weights_sha256,
        "manifests_sha256": {name: provenance.file_sha256(path) for name, path in test_sets.items()},
        "scoring": asdict(scoring),
        "package_version": __version__,
    }


def _fingerprint(settings: Mapping[str, Any], sets: Mapping[str, Sequence[ImageRecord]]) -> str:
    """Hash everything that determines the rows except the degradation; changed photos or masks get another folder."""
    photos = [_state(file) for of in sets.values() for record in of for file in (record.path, record.mask_path) if file]
    return provenance.content_hash({**settings, "photos": photos})


def _state(file: Path) -> tuple[int, int] | None:
    """Return size and modification time of a photo or mask, so that a replaced file is scored again."""
    return (file.stat().st_size, file.stat().st_mtime_ns) if file.exists() else None


def _write(
    out: Path,
    summary: Mapping[str, Any],
    scoring: Scoring,
    levels: Levels,
    checkpoint: str,
    set_aside: Sequence[str],
    not_scored: Mapping[str, Sequence[str]],
) -> None:
    from stage2_distill.evaluation import robustness_report

    provenance.write_json(
        out / "robustness.json",
        {
            "sets": summary,
            "levels": asdict(levels),
            "scoring": asdict(scoring),
            "checkpoint": checkpoint,
            "set_aside": set_aside,
            "not_scored": not_scored,
            "command": provenance.command_line(),
            "environment": provenance.environment(),
        },
    )
    write_whole(out / "robustness.md", robustness_report.markdown(summary, scoring).encode())
    robustness_report.draw(summary, out / "robustness.png")
    print(robustness_report.text(summary))
    print(f"results: {out / 'robustness.md'}, {out / 'robustness.json'}; curves: {out / 'robustness.png'}")
    for level, files in not_scored.items():
        print(f"not scored at {level}: {len(files)} photos whose ground truth disappears; robustness.json lists them")
