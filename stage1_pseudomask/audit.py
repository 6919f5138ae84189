"""The command ``boxpromptiml audit``: comparison of pseudo-masks and boxes with ground truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path

import cv2
import numpy as np

from boxpromptiml.core.boxes import rasterize
from boxpromptiml.core.records import Sample
from boxpromptiml.images import Mask, visualization
from boxpromptiml.runtime.provenance import write_json
from boxpromptiml.runtime.run_folder import relative_to, run_folder
from boxpromptiml.shards import CacheError, ShardReader

SETTINGS = "audit.settings.json"
RESULTS = ("audit.json", "audit.png")
TOLERANCE = 0.008
"""Largest distance of matching borders, as a fraction of the diagonal (DAVIS, Perazzi et al. 2016)."""
COLUMNS = ("photo and boxes", "pseudo-mask", "truth")
SHOWN = 3
"""Number of worst, median and best examples in the picture sheet."""


@dataclass(frozen=True, slots=True)
class MaskScores:
    """Agreement of one image's pseudo-mask, and of its boxes, with ground truth, and the teacher's confidence."""

    pseudo_mask_iou: float
    box_iou: float
    boundary_f1: float
    confidence: float


def audit(cache: Path, out: Path | None = None, overwrite: bool = False) -> int:
    """Compare the pseudo-masks of a cache with ground truth, and with the bare boxes as a baseline.

    Evaluates all manipulated images with ground truth, at the cache's resolution. Prints a table by source and writes
    audit.json and audit.png. Scores are means over images with bootstrap intervals; boundary F1 tolerates 0.8 % of the
    diagonal. The last column is the rank correlation (Spearman) of the teacher's confidence with the IoU: 1 if the
    confidence orders the masks perfectly, 0 if it is uninformative.

    Args:
        cache: folder written by `boxpromptiml pseudomasks`.
        out: folder for audit.json and audit.png; by default the cache.
        overwrite: replace results of another cache in the folder.

    Returns:
        0, or 3 if manipulated images were skipped because their ground truth is empty; audit.json names them.

    Raises:
        InputError: the cache cannot be read or has no ground truth, or the folder holds results of another cache or is
            in use.
    """
    reader = ShardReader(cache)
    folder = out or cache
    settings = {"cache": relative_to(cache, folder), **asdict(reader.index.stamp)}
    with run_folder(folder, SETTINGS, settings, RESULTS, overwrite):
        return _audit(reader, folder)


def _audit(reader: ShardReader, folder: Path) -> int:
    by_source: dict[str, list[MaskScores]] = defaultdict(list)
    order: list[tuple[float, int]] = []
    lost: list[str] = []
    for i in np.flatnonzero(~reader.authentic).tolist():
        sample = reader[i]
        if sample.truth is None:
            continue
        if sample.has_empty_truth:
            lost.append(f"image {sample.image_id} of {sample.source}: manipulated, but its ground truth is empty")
            continue
        agreement = compare(sample)
        by_source[sample.source].append(agreement)
        order.append((agreement.pseudo_mask_iou, i))
    for each in lost:
        print(f"skipped: {each}; correct its mask")
    if not order:
        raise CacheError(
            f"{reader.cache}: no manipulated image has ground truth; add mask_file to images in the manifest"
        )

    everything = [agreement for agreements in by_source.values() for agreement in agreements]
    scores: dict[str, float | list[str]] = {**_means(everything), "images_set_aside": len(lost)}
    for source, agreements in sorted(by_source.items()):
        scores |= {f"{source}/{name}": value for name, value in _means(agreements).items()}
    scores["set_aside"] = lost
    write_json(folder / "audit.json", scores)
    _sheet(reader, [i for _, i in sorted(order)], folder / "audit.png")
    _print_table({**dict(sorted(by_source.items())), "all": everything})
    return 3 if lost else 0


def compare(sample: Sample) -> MaskScores:
    """Score one sample with ground truth; the pseudo-mask is binarized at probability 0.5."""
    if sample.truth is None:
        raise ValueError(f"image {sample.image_id} has no ground truth")
    truth, pseudo_mask = sample.truth > 0, sample.pseudo_mask > 127
    height, width = truth.shape
    return MaskScores(
        iou(pseudo_mask, truth),
        iou(rasterize(sample.boxes_xyxy, width, height), truth),
        boundary_f1(pseudo_mask, truth, ceil(TOLERANCE * np.hypot(height, width))),
        sample.confidence,
    )


def iou(mask: Mask, truth: Mask) -> float:
    """Intersection over union of two (H, W) masks; 1 if both are empty."""
    union = (mask | truth).sum()
    return float((mask & truth).sum() / union) if union else 1.0


def boundary_f1(mask: Mask, truth: Mask, tolerance: int) -> float:
    """F1 of the border pixels of two (H, W) masks; 1 if neither has a border.

    Args:
        mask: predicted mask.
        truth: ground truth.
        tolerance: largest distance in pixels at which border pixels match.
    """
    border, true_border = _border(mask), _border(truth)
    if not border.any() or not true_border.any():
        return float(border.any() == true_border.any())
    precision = (border & _grown(true_border, tolerance)).sum() / border.sum()
    recall = (true_border & _grown(border, tolerance)).sum() / true_border.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _border(mask: Mask) -> Mask:
    """Return the border pixels of a mask; pixels at the image's edge are not border pixels for that reason alone."""
    return mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)


def _grown(mask: Mask, radius: int) -> Mask:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), disk) > 0


def _means(agreements: Sequence[MaskScores]) -> dict[str, float]:
    from boxpromptiml.scoring.score_functions import bootstrap_interval  # a slow import that --help does not need

    names = ("pseudo_mask_iou", "box_iou", "boundary_f1")
    means = {name: round(float(np.mean([getattr(a, name) for a in agreements])), 4) for name in names}
    iou_of_each = [agreement.pseudo_mask_iou for agreement in agreements]
    low, high = bootstrap_interval(iou_of_each)
    return {
        "images": len(agreements),
        **means,
        "pseudo_mask_iou_ci_low": round(low, 4),
        "pseudo_mask_iou_ci_high": round(high, 4),
        "confidence_rank_correlation": round(_rank_correlation([a.confidence for a in agreements], iou_of_each), 4),
    }


def _rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 if one of the variables is constant."""
    from scipy import stats  # another slow import

    if min(np.ptp(a), np.ptp(b)) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)


def _print_table(groups: dict[str, list[MaskScores]]) -> None:
    width = max(map(len, [*groups, "source"]))
    print(f"{'source':<{width}}  images  pseudo-mask IoU (95 %)  box IoU  boundary F1  confidence corr.")
    for name, agreements in groups.items():
        mean = _means(agreements)
        interval = f"({mean['pseudo_mask_iou_ci_low']:.3f}-{mean['pseudo_mask_iou_ci_high']:.3f})"
        print(
            f"{name:<{width}}  {mean['images']:6d}  {mean['pseudo_mask_iou']:8.3f} {interval}  {mean['box_iou']:7.3f}  "
            f"{mean['boundary_f1']:11.3f}  {mean['confidence_rank_correlation']:+16.2f}"
        )


def _sheet(reader: ShardReader, worst_first: Sequence[int], path: Path) -> None:
    middle = max(0, (len(worst_first) - SHOWN) // 2)
    thirds = {
        "worst": worst_first[:SHOWN],
        "median": worst_first[middle : middle + SHOWN],
        "best": worst_first[-SHOWN:],
    }
    rows, captions = [], []
    for word, chosen in thirds.items():
        for i in chosen:
            sample = reader[i]
            masks = [sample.pseudo_mask, sample.truth]
            rows.append([visualization.with_boxes(sample.image, sample.boxes_xyxy)])
            rows[-1] += [np.repeat(mask[..., None], 3, axis=2) for mask in masks if mask is not None]
            captions.append(f"{word}: IoU {compare(sample).pseudo_mask_iou:.2f}")
    visualization.sheet(rows, COLUMNS, captions, path)
