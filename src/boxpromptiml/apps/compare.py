"""The command ``boxpromptiml compare``: two recipes on the same test images, over several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boxpromptiml.apps.run_results import Scores, read_scores
from boxpromptiml.core.limits import Seed, within_limits
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime import provenance

DRAWS = 10_000
"""Number of bootstrap resamples for each interval."""
ScoreName = Literal["f1", "iou", "auc"]
ImageKey = tuple[str, int]
"""Test set and image id."""
Rows = NDArray[np.float64]
"""(runs, images) scores."""


@within_limits
def compare(
    baseline: Sequence[Path],
    candidate: Sequence[Path],
    score: ScoreName = "f1",
    sets: Sequence[str] = (),
    pool: Sequence[str] = (),
    out: Path | None = None,
    seed: Seed = 0,
    overwrite: bool = False,
) -> int:
    """Compare two recipes by the scores of their runs on the same test images.

    Each recipe has one or more runs, usually with different seeds. A recipe's score on an image is the mean over its
    runs. Differences are candidate minus baseline, paired by image; their 95 % intervals are bootstraps over images
    (the same for both) and runs (separately for each), so they include the randomness of both data and training.

    Args:
        baseline: scores.json files written by `boxpromptiml test` for one recipe.
        candidate: those of the other recipe.
        score: score of manipulated images to compare.
        sets: test sets to compare on; by default all.
        pool: test sets that are additionally pooled in one row, such as [casia1, imd2020], with equal weight per image.
        out: also write the comparison as JSON, with the score of every run.
        seed: random seed for the bootstrap.
        overwrite: replace an existing file with different content.

    Raises:
        InputError: a file cannot be read, the runs were not scored on the same images with the same options, or a
            different file exists.
    """
    if not baseline or not candidate:
        raise InputError("a comparison needs runs on both sides; pass scores.json files to --baseline and --candidate")
    named = [path.resolve() for path in (*baseline, *candidate)]
    if twice := [path for path in named if named.count(path) > 1]:
        raise InputError(f"{twice[0]}: listed twice; list each run once, on one side")
    files = {path: read_scores(path) for path in (*baseline, *candidate)}
    _check_rules(files)
    _check_photos(files, sets)
    before, after = ([scores_of_images(files[path], score, sets) for path in paths] for paths in (baseline, candidate))
    keys = common_images([*baseline, *candidate], [*before, *after])
    found = list(dict.fromkeys(name for name, _ in keys))
    if absent := [name for name in (*sets, *pool) if name not in found]:
        raise InputError(f"no scores for {', '.join(absent)}; the runs have scores for: {', '.join(found)}")
    rows = {}
    for members in [*([name] for name in found), *([pool] if pool else [])]:
        chosen = [key for key in keys if key[0] in members]
        old, new = (np.array([[run[key] for key in chosen] for run in runs]) for runs in (before, after))
        rows[" + ".join(members)] = difference(old, new, np.random.default_rng(seed))
    print(_table(rows, score.upper() if score != "iou" else "IoU"))
    if out is not None:
        comparison = {
            "score": score,
            "sets": rows,
            "command": provenance.command_line(),
            "environment": provenance.environment(),
        }
        provenance.write_results({out: provenance.json_bytes(comparison)}, overwrite)
    return 0


def _check_rules(files: Mapping[Path, Scores]) -> None:
    first, rules = next((path, scores.scoring) for path, scores in files.items())
    for path, scores in files.items():
        if scores.scoring != rules:
            raise InputError(
                f"{path}: scored with other rules ({scores.scoring}) than {first} ({rules}); run `boxpromptiml "
                "test` on both with the same rules"
            )


def _check_photos(files: Mapping[Path, Scores], sets: Sequence[str]) -> None:
    """Reject runs whose images have the same set and id but different file names; their folders may differ."""
    called: dict[ImageKey, tuple[str, Path]] = {}
    for path, scores in files.items():
        for case in (case for case in scores.per_image if not sets or case.set_name in sets):
            name = PurePath(case.file.replace("\\", "/")).name
            known, where = called.setdefault((case.set_name, case.image_id), (name, path))
            if known != name:
                raise InputError(
                    f"{path}: image {case.image_id} of {case.set_name} is {name} here, but {known} in {where}; "
                    "score all runs with the same data.test_sets"
                )


def scores_of_images(scores: Scores, score: ScoreName, sets: Sequence[str]) -> dict[ImageKey, float]:
    """Return the score of each manipulated image by test set and image id; images without score are omitted."""
    return {
        (case.set_name, case.image_id): value
        for case in scores.per_image
        if case.kind != "authentic"
        and (not sets or case.set_name in sets)
        and (value := getattr(case, score)) is not None
    }


def common_images(paths: Sequence[Path], runs: Sequence[dict[ImageKey, float]]) -> list[ImageKey]:
    """Return the images for which every run has a score.

    Raises:
        InputError: the runs were not scored on the same images; names the file.
    """
    for path, run in zip(paths, runs, strict=True):
        if run.keys() != runs[0].keys() or not run:
            raise InputError(
                f"{path}: its {len(run)} scored images are not the {len(runs[0])} of {paths[0]}; score all runs "
                "with the same data.test_sets, or select common sets with --sets"
            )
    return list(runs[0])


def difference(before: Rows, after: Rows, rng: np.random.Generator) -> dict[str, Any]:
    """Compute the means of both sides and their difference, with intervals.

    Args:
        before: (runs, images) scores of the baseline.
        after: (runs, images) scores of the candidate, on the same images.
        rng: random generator for the bootstrap.
    """
    drawn_before, drawn_after = np.empty(DRAWS), np.empty(DRAWS)
    for draw in range(DRAWS):
        images = rng.integers(before.shape[1], size=before.shape[1])
        drawn_before[draw] = before[rng.integers(len(before), size=len(before))][:, images].mean()
        drawn_after[draw] = after[rng.integers(len(after), size=len(after))][:, images].mean()
    row: dict[str, Any] = {"images": before.shape[1]}
    sides = {
        "baseline": (before.mean(), drawn_before),
        "candidate": (after.mean(), drawn_after),
        "difference": (after.mean() - before.mean(), drawn_after - drawn_before),
    }
    for name, (mean, drawn) in sides.items():
        low, high = np.percentile(drawn, [2.5, 97.5])
        row |= {name: float(mean), f"{name}_ci_low": float(low), f"{name}_ci_high": float(high)}
    return row | {"baseline_runs": before.mean(1).tolist(), "candidate_runs": after.mean(1).tolist()}


def _table(rows: dict[str, dict[str, Any]], score: str) -> str:
    lines = [f"{score:<20} images   baseline                candidate               candidate − baseline"]
    for name, row in rows.items():
        cells = [
            f"{row[side]:{sign}.3f} ({row[f'{side}_ci_low']:{sign}.3f} to {row[f'{side}_ci_high']:{sign}.3f})"
            for side, sign in (("baseline", ""), ("candidate", ""), ("difference", "+"))
        ]
        lines.append(f"{name:<20} {row['images']:>6}   {cells[0]:<23} {cells[1]:<23} {cells[2]}")
    return "\n".join(lines)
