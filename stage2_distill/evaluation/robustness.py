"""How a student's scores fall when photos are degraded: every kind of degradation, level by level."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader
from tqdm import tqdm

from boxpromptiml import __version__
from boxpromptiml.core.limits import Count, Workers, within_limits
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import ManifestError, read_manifest
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.devices import existing_devices
from boxpromptiml.runtime.processes import loader_processes
from boxpromptiml.runtime.run_folder import run_folder
from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.data.dataset import ScoredBatch, ScoredDataset, collate_scored, scorable, unscored
from stage2_distill.data.degradations import Degradation, Levels
from stage2_distill.evaluation import robustness_report
from stage2_distill.evaluation.metrics import Scoreboard, in_precision
from stage2_distill.evaluation.scores import Rows
from stage2_distill.inference import released
from stage2_distill.inference.localizer import Localizer, load_named

SETTINGS = "robustness.settings.json"
RESULTS = ("robustness.json", "robustness.md", "robustness.png")
warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec")  # Lightning 2.6 on torch 2.12 and newer


class DegradedTest(L.LightningModule):
    """Scores a localizer on loaders of photos; one bar counts the images of all runs.

    Args:
        localizer: what is tested.
        scoring: the rules.
        bar: is moved on by each image.

    Attributes:
        rows: of the last run, from all processes; see `Scoreboard.compute`.
    """

    rows: Rows

    def __init__(self, localizer: Localizer, scoring: Scoring, bar: tqdm) -> None:
        super().__init__()
        self.localizer = localizer
        self.scoreboard = Scoreboard(scoring)
        self.bar = bar

    def test_step(self, batch: ScoredBatch, batch_index: int, dataloader_idx: int = 0) -> None:
        """Score each photo against its truth."""
        with in_precision(self.scoreboard.scoring.precision, self.device):
            probability = self.localizer(batch["image"])[:, 0]
        for i, truth in enumerate(batch["truth"]):
            self.scoreboard.update(dataloader_idx, batch["index"][i], probability[i], truth)
        self.bar.update(len(batch["index"]) * self.trainer.world_size)

    def on_test_epoch_end(self) -> None:
        """Gather the rows of all processes."""
        self.rows = self.scoreboard.compute().numpy()
        self.scoreboard.reset()


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
    """Score a student on photos that were blurred, compressed, resized or shared, level by level.

    Each degradation is done to the photo at its own resolution, before it is resized to the student's size; noise is
    the same in every run. Scores are at the truth's resolution; where a degradation changes the photo's size, the truth
    is resized with it. Writes robustness.json, robustness.md and robustness.png, and prints a table. Stopped, the same
    command goes on where it was; levels that are named later are added.

    Args:
        test_sets: name and manifest with ground truth of each set, as in '{casia1: data/full/test/casia1.json}'.
        out: folder to write to.
        checkpoint: released for the student that comes with the package, a .ckpt file that `boxpromptiml fit` wrote, a
            saved student, or its OWNER/NAME on the Hugging Face hub.
        levels: of each kind of degradation.
        scoring: by which rules, as for `boxpromptiml test`; a threshold that is stored with the student is not used.
        batch_size: images a step and process.
        workers: loader processes.
        accelerator: cpu, gpu, or auto.
        devices: processes on this machine, each with a device of its own.
        num_nodes: machines, when started by torchrun or SLURM.
        overwrite: replace results of another student or of other sets or rules; levels may differ without.

    Returns:
        0, or 3 when photos were set aside.

    Raises:
        InputError: a set cannot be read, or the folder holds such results or a run at work.
    """
    degradations = levels.degradations()
    if not test_sets or not degradations:
        raise ManifestError("nothing to score; name test sets, such as {casia1: data/casia1.json}, and levels")
    manifests = [read_manifest(path) for path in test_sets.values()]
    sets = {name: scorable(manifest) for name, manifest in zip(test_sets, manifests, strict=True)}
    localizer = load_named(checkpoint)
    settings = _settings(localizer, test_sets, scoring)
    folder = out / "rows" / _fingerprint(settings, sets)
    files = {each: folder / f"{str(each or 'clean').replace(' ', '-')}.npy" for each in (None, *degradations)}
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
        _score_missing(files, trainer, localizer, scoring, sets, batch_size, workers)
        clean, degraded = np.load(files[None]), {each: np.load(files[each]) for each in degradations}
        set_aside = _set_aside(clean, sets)
        if trainer.is_global_zero:
            _write(out, robustness_report.summarize(clean, degraded, sets), scoring, levels, checkpoint, set_aside)
    left_out = bool(set_aside) or any(manifest.set_aside for manifest in manifests)
    return 3 if left_out and trainer.is_global_zero else 0  # Lightning kills the first process for what others return


def _score_missing(
    files: Mapping[Degradation | None, Path],
    trainer: L.Trainer,
    localizer: Localizer,
    scoring: Scoring,
    sets: Mapping[str, Sequence[ImageRecord]],
    batch_size: int,
    workers: int,
) -> None:
    """Write the rows of every degradation whose file is not there; None stands for photos as they are."""
    left = [each for each, file in files.items() if not file.exists()]
    images = sum(map(len, sets.values()))
    done = (len(files) - len(left)) * images
    with tqdm(total=len(files) * images, initial=done, unit="image", disable=not trainer.is_global_zero) as bar:
        module = DegradedTest(localizer, scoring, bar)
        for degradation in left:
            bar.set_postfix_str(str(degradation or "as they are"))
            loaders = _loaders(sets, localizer.student.image_size, degradation, batch_size, workers)
            trainer.test(module, loaders, verbose=False)
            if trainer.is_global_zero:
                _save(files[degradation], module.rows)
    trainer.strategy.barrier()  # the others read what the first has written


def _settings(localizer: Localizer, test_sets: Mapping[str, Path], scoring: Scoring) -> dict[str, Any]:
    """What decides the results of every level."""
    return {
        "weights_sha256": localizer.weights_sha256(),
        "manifests_sha256": {name: provenance.file_sha256(path) for name, path in test_sets.items()},
        "scoring": asdict(scoring),
        "package_version": __version__,
    }


def _fingerprint(settings: Mapping[str, Any], sets: Mapping[str, Sequence[ImageRecord]]) -> str:
    """Of all that decides the rows, but for the degradation: rows of other photos and masks lie in other folders."""
    photos = [_state(file) for of in sets.values() for each in of for file in (each.path, each.mask_path) if file]
    return provenance.content_hash({**settings, "photos": photos})


def _state(file: Path) -> tuple[int, int] | None:
    """Size and time of a photo or mask, so that one which was replaced is scored again."""
    return (file.stat().st_size, file.stat().st_mtime_ns) if file.exists() else None


def _save(path: Path, rows: Rows) -> None:
    """Keep the rows of a finished degradation; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.save(stream, rows)
    partial.replace(path)


def _loaders(
    sets: Mapping[str, Sequence[ImageRecord]],
    size: int,
    degradation: Degradation | None,
    batch_size: int,
    workers: int,
) -> list[DataLoader]:
    return [
        DataLoader(
            ScoredDataset(records, size, degradation),
            batch_size,
            collate_fn=collate_scored,
            **loader_processes(workers, ScoredDataset.__module__),
        )
        for records in sets.values()
    ]


def _set_aside(clean: Rows, sets: Mapping[str, Sequence[ImageRecord]]) -> list[str]:
    """Why photos that have no scores have none."""
    records = list(sets.values())
    unread = clean[np.isnan(clean[:, 2:]).all(1)]
    return [unscored(records[int(row[0])][int(row[1])]) for row in unread]


def _write(
    out: Path,
    summary: Mapping[str, Any],
    scoring: Scoring,
    levels: Levels,
    checkpoint: str,
    set_aside: Sequence[str],
) -> None:
    provenance.write_json(
        out / "robustness.json",
        {
            "sets": summary,
            "levels": asdict(levels),
            "scoring": asdict(scoring),
            "checkpoint": checkpoint,
            "set_aside": set_aside,
            "command": provenance.command_line(),
            "environment": provenance.environment(),
        },
    )
    (out / "robustness.md").write_text(robustness_report.markdown(summary, scoring), encoding="utf-8")
    robustness_report.draw(summary, out / "robustness.png")
    print(robustness_report.text(summary))
    print(f"every level: {out / 'robustness.md'}, {out / 'robustness.json'}; curves: {out / 'robustness.png'}")
    for reason in set_aside:
        print(f"set aside: {reason}")
