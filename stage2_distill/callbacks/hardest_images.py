"""The images with the lowest scores, with pictures: as a W&B table, and as a PNG with a JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import wandb
from numpy.typing import NDArray

from boxpromptiml import images
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.images import visualization
from boxpromptiml.runtime import provenance
from stage2_distill.callbacks.panels import COLUMNS, picture_rows
from stage2_distill.data.dataset import PseudoMaskDataset
from stage2_distill.data.test_set import ScoredDataset
from stage2_distill.evaluation import agreement
from stage2_distill.evaluation.score_report import per_image
from stage2_distill.module import Distillation

TESTED = ("set", "image_id", "kind", "f1", "iou", "predicted_area", "file")
Rows = NDArray[np.float64]


class HardestImages(NamedTuple):
    """Images, worst first.

    Attributes:
        shows: what an image's pictures show, from left to right.
        pictured: pictures of each image, all of the same size.
        facts: data about each image, all with the same keys.
    """

    shows: Sequence[str]
    pictured: list[list[images.Photo]]
    facts: list[dict[str, Any]]

    def table(self) -> wandb.Table:
        """Return a table with a row per image, whose pictures are joined horizontally."""
        columns: list[str | int] = [", ".join(self.shows), *self.facts[0]]
        strips = [wandb.Image(np.hstack(row)) for row in self.pictured]
        return wandb.Table(columns, [[strip, *of.values()] for strip, of in zip(strips, self.facts, strict=True)])

    def write(self, path: Path) -> None:
        """Write a PNG with a row of pictures per image, and a JSON file with the facts in the same order."""
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write_photo(path, np.vstack([np.hstack(row) for row in self.pictured]))
        provenance.write_json(path.with_suffix(".json"), {"shows": list(self.shows), "images": self.facts})


def of_validation(pl_module: Distillation, dataset: PseudoMaskDataset, rows: Rows, count: int) -> HardestImages:
    """Collect the validation images that agree least with their teacher.

    Args:
        pl_module: the module, in evaluation mode.
        dataset: the validation set.
        rows: as returned by `TeacherAgreement.compute`.
        count: maximum number of images.
    """
    scored = rows[~np.isnan(rows[:, 1])]
    worst = scored[np.argsort(scored[:, 1], kind="stable")[:count]]
    if not len(worst):
        return HardestImages(COLUMNS, [], [])
    positions = worst[:, 0].astype(int).tolist()
    image_ids, pictured = picture_rows(pl_module, dataset, positions)
    facts = [
        {
            "image_id": image_id,
            "source": dataset.sources[dataset.source_of[position]],
            **{n: None if np.isnan(v) else float(v) for n, v in zip(agreement.SCORES, row[1:], strict=True)},
        }
        for image_id, position, row in zip(image_ids, positions, worst, strict=True)
    ]
    return HardestImages(COLUMNS, pictured, facts)


def of_test(
    pl_module: Distillation, sets: Mapping[str, Sequence[ImageRecord]], rows: Rows, size: int, count: int
) -> tuple[HardestImages, HardestImages]:
    """Collect manipulated test images with the lowest F1, and authentic ones with the largest false alarms, if any.

    Args:
        pl_module: the module, in evaluation mode.
        sets: name → records, in the order of the set indices.
        rows: as returned by `ImageScores.compute`.
        size: side of the student's input in pixels.
        count: maximum number of images of either kind.
    """
    by_position = list(sets.values())
    records = [by_position[of_set][index] for of_set, index in rows[:, :2].astype(int).tolist()]
    scored = [pair for pair in zip(per_image(rows, sets), records, strict=True) if pair[0]["f1"] is not None]
    manipulated = sorted((p for p in scored if not p[1].authentic), key=lambda pair: pair[0]["f1"])
    authentic = sorted((p for p in scored if p[1].authentic), key=lambda pair: -pair[0]["predicted_area"])
    alarmed = [pair for pair in authentic if pair[0]["predicted_area"] > 0]
    worst, alarms = (
        HardestImages(
            ("photo", "truth", "prediction"),
            [_tested_pictures(pl_module, record, size) for _, record in pairs[:count]],
            [{name: row[name] for name in TESTED} for row, _ in pairs[:count]],
        )
        for pairs in (manipulated, alarmed)
    )
    return worst, alarms


def _tested_pictures(pl_module: Distillation, record: ImageRecord, size: int) -> list[images.Photo]:
    item = ScoredDataset([record], size)[0]
    assert item["truth"] is not None
    with torch.no_grad():
        logits = pl_module.student(item["image"][None].to(pl_module.device)).logits
    photo = images.to_uint8(item["image"].permute(1, 2, 0).numpy())
    truth = images.resize_mask(item["truth"].numpy(), size, size)
    probability = torch.sigmoid(logits[0, 0].float()).cpu().numpy()
    return [photo, visualization.grey(truth.astype(np.float32)), visualization.heat(probability)]
