"""The report page of a run. It presents the files written by other commands and computes no scores itself."""

from __future__ import annotations

import datetime
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np

from boxpromptiml import __version__
from boxpromptiml.apps.report.charts import training_curves
from boxpromptiml.apps.run_results import Case, Results, SetScores, read_results
from boxpromptiml.core import boxes
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.images import ImageError, Probability, read_pair, read_photo, resize_probability, visualization
from boxpromptiml.runtime.provenance import OtherResultsError, write_json
from boxpromptiml.shards import ShardReader

THUMBNAIL = 240
"""Longer side of an image on the page, in pixels."""
ROWS = 3
"""Number of best, of median and of worst examples; there are twice as many pseudo-masks."""
TRIVIAL = {
    "f1_all_positive": "everything is manipulated",
    "f1_random": "random pixels, at the true rate",
    "f1_centre_box": "a box in the centre",
    "f1_nothing": "nothing is manipulated",
}
"""Baselines that ignore the photo."""
TITLE = b"BoxPromptIML report</title>"
"""Identifies a page written by this command."""

Number = float | int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """A score in a bar chart, with its interval if known."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Images of one example as data URIs by title; ``missing`` explains what cannot be shown."""

    caption: str
    pictures: dict[str, str] = field(default_factory=dict)
    missing: str = ""


def report(run: Path, out: Path | None = None, overwrite: bool = False) -> int:
    """Write a self-contained HTML page about a run, and its main numbers as flat JSON beside it.

    The page needs neither network nor other files. Missing parts of the run are listed.

    Args:
        run: folder of the run, such as runs/demo.
        out: the page to write; by default report.html in the run's folder. metrics.json is written to the same folder.
            Files written earlier by this command are replaced.
        overwrite: also replace files that this command did not write.

    Returns:
        0, or 3 if an image could not be shown.

    Raises:
        InputError: the folder has no results, a result file is invalid, or a foreign file would be replaced.
    """
    results = read_results(run)
    if not any((results.index, results.fit, results.scores)):
        raise InputError(f"{run}: no results in this folder; pass the folder of a run, or make one with `make demo`")
    page = out or run / "report.html"
    cases = case_rows(results)
    samples = pseudo_mask_rows(run / "pseudomasks") if results.index else []
    metrics = flat_metrics(results)
    _refuse_foreign({page: [TITLE], page.with_name("metrics.json"): [name.encode() for name in TRIVIAL]}, overwrite)
    configs = sorted([*run.glob("fit/**/config.yaml"), *run.glob("pseudomasks/*.yaml")])
    set_name, headline = headline_set(results)
    html = _template().render(
        results=results,
        metrics=metrics,
        version=__version__,
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        set_name=set_name,
        bars=beside_trivial(headline),
        other_sets=other_sets(results),
        cases=cases,
        samples=samples,
        charts=training_curves(sorted(run.glob("fit/**/metrics.csv"), key=lambda path: path.stat().st_mtime)),
        splits=Counter(record.split for record in results.manifest.records) if results.manifest else {},
        configs={path.relative_to(run): path.read_text("utf-8", "replace") for path in configs},
    )
    write_whole(page, html.encode(errors="replace"))
    write_json(page.with_name("metrics.json"), metrics)
    return _announce(page, results, [*itertools.chain(*cases.values()), *samples])


def _refuse_foreign(marks: dict[Path, list[bytes]], overwrite: bool) -> None:
    """Reject replacing files that lack the words found in every report."""
    for path, words in marks.items():
        content = path.read_bytes() if path.exists() and not overwrite else b""
        if content and not all(word in content for word in words):
            raise OtherResultsError(
                f"{path}: already exists and is not a report; choose another --out, or replace it with --overwrite"
            )


def headline_set(results: Results) -> tuple[str, SetScores | None]:
    """Return name and scores of the set ``demo`` or, if there is none, of the first set."""
    sets = results.scores.sets if results.scores else {}
    name = "demo" if "demo" in sets else next(iter(sets), "")
    return name, sets.get(name)


def other_sets(results: Results) -> dict[str, tuple[SetScores, list[Bar]]]:
    """Return the scores of the remaining test sets, each with its result of `beside_trivial`."""
    sets = results.scores.sets if results.scores else {}
    bars = {name: beside_trivial(scores) for name, scores in sets.items() if name != headline_set(results)[0]}
    return {name: (sets[name], of_set) for name, of_set in bars.items() if of_set}


def flat_metrics(results: Results) -> dict[str, Number]:
    """Return the main numbers of a run under fixed flat keys; None if missing."""
    (_, scores), fit, index, audit = headline_set(results), results.fit, results.index, results.audit
    names = ("f1", "f1_ci_low", "f1_ci_high", "iou", "iou_ci_low", "iou_ci_high", "auc", *TRIVIAL, "false_alarm_area")
    return {
        **{name: getattr(scores, name, None) for name in names},
        **{name: getattr(audit, name, None) for name in ("pseudo_mask_iou", "box_iou", "boundary_f1")},
        **{name: getattr(fit, name, None) for name in ("images_train", "parameters", "macs", "seconds_fit")},
        "images_test": scores.images if scores else None,
        "seconds_stage1": index.seconds if index else None,
    }


def beside_trivial(scores: SetScores | None) -> list[Bar]:
    """Return bars of the student's F1 on a set and of the trivial baselines, the best baseline first."""
    if scores is None or scores.f1 is None:
        return []
    trivial = [
        Bar(label, value, getattr(scores, f"{name}_ci_low", None), getattr(scores, f"{name}_ci_high", None))
        for name, label in TRIVIAL.items()
        if (value := getattr(scores, name)) is not None
    ]
    student = Bar("the student", scores.f1, scores.f1_ci_low, scores.f1_ci_high)
    return [student, *sorted(trivial, key=lambda bar: -bar.value)]


def beats_trivial(bars: Sequence[Bar]) -> bool:
    """Return whether the first bar's whole interval lies above all others."""
    low = bars[0].value if bars[0].low is None else bars[0].low
    return all(low > bar.value for bar in bars[1:])


def case_rows(results: Results) -> dict[str, list[Row]]:
    """Draw the best, median and worst manipulated test images by F1, over all sets."""
    scored = [case for case in (results.scores.per_image if results.scores else []) if case.kind != "authentic"]
    ordered = sorted((case for case in scored if case.f1 is not None), key=lambda case: -(case.f1 or 0))
    count = min(ROWS, len(ordered) // 3)
    middle = (len(ordered) - count) // 2
    chosen = {"Best": ordered[:count], "Median": ordered[middle : middle + count], "Worst": ordered[: -count - 1 : -1]}
    if count == 0:
        chosen = {"All": ordered} if ordered else {}
    predicted = results.predictions.images if results.predictions else []
    masks = {_find(item.file, results.run).resolve(): item.mask for item in predicted}
    return {
        name: [_case_row(case, masks.get(_find(case.file, results.run).resolve()), results) for case in group]
        for name, group in chosen.items()
    }


def pseudo_mask_rows(cache: Path) -> list[Row]:
    """Draw pseudo-masks with their boxes and ground truth, evenly spaced over the cache."""
    reader = ShardReader(cache)
    manipulated = np.flatnonzero(~reader.authentic)
    rows = []
    for i in manipulated[np.unique(np.linspace(0, len(manipulated) - 1, min(2 * ROWS, len(manipulated))).astype(int))]:
        sample = reader[int(i)]
        shown = {"boxes": visualization.with_boxes(sample.image, sample.boxes_xyxy)}
        if sample.truth is not None:
            shown["truth"] = visualization.grey((sample.truth / 255).astype(np.float32))
        shown["pseudo-mask"] = visualization.grey((sample.pseudo_mask / 255).astype(np.float32))
        uris = {
            title: visualization.data_uri(visualization.thumbnail(photo, THUMBNAIL)) for title, photo in shown.items()
        }
        words = (f"image {sample.image_id}", sample.split, sample.kind.replace("_", "-"))
        rows.append(Row(" · ".join(filter(None, words)), uris))
    return rows


def _case_row(case: Case, mask: str | None, results: Results) -> Row:
    kind = (case.kind or "").replace("_", "-")
    words = (Path(case.file).name, case.set_name, kind, f"F1 {_score(case.f1)}", f"IoU {_score(case.iou)}")
    caption = " · ".join(filter(None, words))
    try:
        file, mask_file = _find(case.file, results.run), case.mask_file and _find(case.mask_file, results.run)
        photo, truth = read_pair(file, mask_file) if mask_file else (read_photo(file), None)
        small = visualization.thumbnail(photo, THUMBNAIL)
        height, width = small.shape[:2]
        factors = width / photo.shape[1], height / photo.shape[0]
        record = _record(case, results)
        if record is None:
            shown = {"photo": small}
        else:
            shown = {"photo and boxes": visualization.with_boxes(small, boxes.scale(record.boxes_xyxy, *factors))}
        if truth is not None:
            shown["truth"] = visualization.grey(resize_probability(truth.mask.astype(np.float32), width, height))
        if mask:
            probability = _read_probability(results.run / "predictions" / mask)
            shown["prediction"] = visualization.heat(resize_probability(probability, width, height))
            shown["marked above 0.5"] = visualization.overlay(small, resize_probability(probability, width, height))
    except ImageError as error:
        return Row(caption, missing=str(error))
    missing = "" if mask else "No prediction for this image; run `boxpromptiml predict`."
    return Row(caption, {title: visualization.data_uri(photo) for title, photo in shown.items()}, missing)


def _record(case: Case, results: Results) -> ImageRecord | None:
    """Find the manifest's record of a test image, which has its boxes. Other sets may use the same image ids."""
    for record in results.manifest.records if results.manifest else []:
        if record.image_id == case.image_id and record.path.name == Path(case.file).name:
            return record
    return None


def _find(name: str, run: Path) -> Path:
    """Resolve a file name relative to the current folder, the run's folder or the manifest's folder."""
    candidates = (path for path in (Path(name), run / name, run / "data" / name) if path.is_file())
    return next(candidates, Path(name))


def _here(path: str | None) -> str:
    """Format a path relative to the current folder if possible."""
    given = Path(path or "–")
    return str(given.relative_to(Path.cwd()) if given.is_relative_to(Path.cwd()) else given)


def _read_probability(path: Path) -> Probability:
    return (read_photo(path)[..., 0] / 255).astype(np.float32)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("boxpromptiml.apps.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(score=_score, duration=_duration, count=_count, here=_here)
    environment.tests["beating_trivial"] = beats_trivial
    return environment.get_template("report.html")


def _score(value: Number) -> str:
    return "–" if value is None else f"{value:.3f}"


def _duration(seconds: Number) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s" if not hours else "")
    return " ".join(filter(None, parts))


def _count(value: Number) -> str:
    """Format a large number, such as 1234567 as 1.23 M."""
    if value is None:
        return "–"
    for limit, unit in ((1e9, " G"), (1e6, " M")):
        if value >= limit:
            return f"{value / limit:.2f}{unit}"
    return f"{value:,.0f}"


def _announce(page: Path, results: Results, rows: Sequence[Row]) -> int:
    for bar in beside_trivial(headline_set(results)[1])[:2]:
        interval = "" if bar.low is None or bar.high is None else f" (95 % interval {bar.low:.3f} to {bar.high:.3f})"
        print(f"F1 {bar.value:.3f}{interval}: {bar.label}")
    if results.audit:
        print(f"IoU {results.audit.pseudo_mask_iou:.3f}: pseudo-masks; {results.audit.box_iou:.3f}: bare boxes")
    unreadable = [row.missing for row in rows if row.missing and not row.pictures]
    for reason in unreadable:
        print(f"not shown: {reason}")
    print(page)
    return 3 if unreadable else 0
