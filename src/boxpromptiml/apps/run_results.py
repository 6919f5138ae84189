"""Typed reading of the JSON files that the commands write to a run's folder.

    data/manifest.json · pseudomasks/{index,audit}.json · fit/fit.json · fit/version_N/{metrics.csv,config.yaml}
    validate/agreement.json · test/scores.json · predictions/predictions.json · ablation/ablation.json

Fields that a command could not determine are null. Fields not defined here are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from boxpromptiml.core.records import InputError
from boxpromptiml.manifests.manifest import Manifest, read_manifest
from boxpromptiml.scoring.protocol import Scoring
from boxpromptiml.shards import CacheIndex, read_index

Environment = dict[str, str | int | float | None]
Content = TypeVar("Content")


class Score(msgspec.Struct):
    """Means over images, with 95 % bootstrap intervals over images."""

    images: int
    f1: float | None = None
    f1_ci_low: float | None = None
    f1_ci_high: float | None = None
    iou: float | None = None
    iou_ci_low: float | None = None
    iou_ci_high: float | None = None
    auc: float | None = None
    f1_best_per_image: float | None = None


class SetScores(Score):
    """Scores on one test set, with those of trivial baselines."""

    f1_all_positive: float | None = None
    f1_all_positive_ci_low: float | None = None
    f1_all_positive_ci_high: float | None = None
    f1_random: float | None = None
    f1_random_ci_low: float | None = None
    f1_random_ci_high: float | None = None
    f1_centre_box: float | None = None
    f1_centre_box_ci_low: float | None = None
    f1_centre_box_ci_high: float | None = None
    f1_nothing: float | None = None
    images_authentic: int = 0
    false_alarm_area: float | None = None
    false_alarm_rate: float | None = None
    image_auc: float | None = None
    image_auc_ci_low: float | None = None
    image_auc_ci_high: float | None = None
    image_balanced_accuracy: float | None = None
    by_kind: dict[str, Score] = {}
    by_area: dict[str, Score] = {}


class Case(msgspec.Struct):
    """A test image; ``kind`` is ``authentic`` if nothing was manipulated."""

    file: str
    image_id: int
    set_name: str = msgspec.field(name="set")
    mask_file: str | None = None
    kind: str | None = None
    f1: float | None = None
    iou: float | None = None
    auc: float | None = None


class Scores(msgspec.Struct):
    """Output of ``boxpromptiml test``."""

    sets: dict[str, SetScores]
    per_image: list[Case] = []
    scoring: Scoring = Scoring()
    environment: Environment = {}
    checkpoint: str | None = None
    command: str = ""


class _Rules(msgspec.Struct):
    """Scoring options as stored in a file, without defaults."""

    scoring: dict[str, Any] = {}


class SetAgreement(msgspec.Struct):
    """Agreement with the teacher on one validation set, and with ground truth if there is any."""

    images: int
    f1_pseudo_mask: float | None = None
    f1_pseudo_mask_ci_low: float | None = None
    f1_pseudo_mask_ci_high: float | None = None
    iou_pseudo_mask: float | None = None
    iou_pseudo_mask_ci_low: float | None = None
    iou_pseudo_mask_ci_high: float | None = None
    f1_truth: float | None = None
    f1_truth_ci_low: float | None = None
    f1_truth_ci_high: float | None = None


class Difference(msgspec.Struct):
    """A mean difference over the same images, and its 95 % interval."""

    mean: float
    ci_low: float
    ci_high: float


class AblationRow(msgspec.Struct):
    """A variant's means over images and seeds on a test set or pool; ``f1_runs`` has one value per seed.

    The differences from the study's reference are null for the reference itself.
    """

    variant: str
    set_name: str = msgspec.field(name="set")
    images: int
    f1: float
    f1_ci_low: float
    f1_ci_high: float
    iou: float
    auc: float
    f1_runs: list[float]
    f1_difference: Difference | None = None
    auc_difference: Difference | None = None


class StudyRows(msgspec.Struct):
    """A question with the rows that answer it; no rows until the reference is tested."""

    question: str
    reference: str
    rows: list[AblationRow]
    axis: str | None = None


class Ablation(msgspec.Struct):
    """Output of ``boxpromptiml ablation``."""

    studies: dict[str, StudyRows]
    seeds: list[int]
    command: str = ""
    environment: Environment = {}


class AgreementResults(msgspec.Struct):
    """Output of ``boxpromptiml validate``; ``all`` is over the images of all sets together."""

    sets: dict[str, SetAgreement]
    all: SetAgreement


class Fit(msgspec.Struct):
    """Output of a finished ``boxpromptiml fit``."""

    seconds_fit: float
    images_train: int
    checkpoint: str = ""
    command: str = ""
    parameters: int | None = None
    macs: float | None = None
    environment: Environment = {}


class Audit(msgspec.Struct):
    """Output of ``boxpromptiml audit``: pseudo-masks and boxes against ground truth, means over images."""

    pseudo_mask_iou: float
    box_iou: float
    pseudo_mask_iou_ci_low: float | None = None
    pseudo_mask_iou_ci_high: float | None = None
    boundary_f1: float | None = None


class PredictionRow(msgspec.Struct):
    """A photo; ``mask`` is relative to the folder of ``predictions.json``."""

    file: str
    mask: str | None = None


class Predictions(msgspec.Struct):
    """Output of ``boxpromptiml predict``."""

    images: list[PredictionRow]


@dataclass(frozen=True, slots=True)
class Results:
    """All results in a run's folder; None for missing parts.

    Attributes:
        run: the folder.
    """

    run: Path
    manifest: Manifest | None
    index: CacheIndex | None
    audit: Audit | None
    fit: Fit | None
    agreement: AgreementResults | None
    scores: Scores | None
    predictions: Predictions | None
    ablation: Ablation | None


def read_results(run: Path) -> Results:
    """Read the results in a run's folder.

    Raises:
        InputError: a file does not have the format that its command writes.
    """
    manifest, cache = run / "data/manifest.json", run / "pseudomasks"
    return Results(
        run=run,
        manifest=read_manifest(manifest) if manifest.exists() else None,
        index=read_index(cache) if (cache / "index.json").exists() else None,
        audit=_read(cache / "audit.json", Audit),
        fit=_read(run / "fit/fit.json", Fit),
        agreement=_read(run / "validate/agreement.json", AgreementResults),
        scores=_read(run / "test/scores.json", Scores),
        predictions=_read(run / "predictions/predictions.json", Predictions),
        ablation=_read(run / "ablation/ablation.json", Ablation),
    )


def read_scores(path: Path) -> Scores:
    """Read one ``scores.json``.

    Raises:
        InputError: the file is missing, or was not written by `boxpromptiml test`.
    """
    scores = _read(path, Scores, "test")
    if scores is None:
        raise InputError(f"{path}: no such file; pass the scores.json that `boxpromptiml test` wrote")
    if "precision" not in msgspec.json.decode(path.read_bytes(), type=_Rules).scoring:
        raise InputError(f"{path}: the scoring precision is missing; run `boxpromptiml test` again")
    return scores


def _read(path: Path, content: type[Content], command: str | None = None) -> Content | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        command = command or {"agreement": "validate", "scores": "test", "predictions": "predict"}.get(
            path.stem, path.stem
        )
        raise InputError(
            f"{path}: not written by `boxpromptiml {command}`, or damaged ({error}); delete it and run that "
            "command again"
        ) from None
