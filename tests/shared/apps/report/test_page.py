"""The report page: self-contained, safe against hostile names, explicit about missing parts and weak results."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from parsed_page import Page
from PIL import Image

from boxpromptiml import images, shards
from boxpromptiml.apps.report.page import report
from boxpromptiml.core import records
from boxpromptiml.core.records import InputError
from boxpromptiml.manifests import manifest
from boxpromptiml.runtime.provenance import write_json

HOSTILE = "<script>alert(1)<!-- & \"quoted\" 'name'.jpg"
SIZE = 48


def score(f1, n=9):
    return {"images": n, "f1": f1, "f1_ci_low": f1 - 0.05, "f1_ci_high": f1 + 0.05, "iou": f1 / 2, "auc": 0.8}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder as the commands leave it: nine scored forgeries and an authentic image, one with a hostile name."""
    monkeypatch.chdir(tmp_path)
    run = Path("runs/demo")
    rng = np.random.default_rng(0)
    rows, samples, cases, predictions = [], [], [], []
    for i in range(10):
        file = run / "data" / "test" / (HOSTILE if i == 8 else f"photo{i}.jpg")
        truth_file = run / "data" / "test" / f"truth{i}.png"
        photo = rng.integers(0, 255, (SIZE, 2 * SIZE, 3), dtype=np.uint8)
        truth = np.zeros((SIZE, 2 * SIZE), bool)
        truth[10:30, 20:60] = i != 9
        boxes = np.array([[18, 8, 64, 32]] if i != 9 else np.zeros((0, 4)), np.float32)
        file.parent.mkdir(parents=True, exist_ok=True)
        images.write_photo(file, photo)
        images.write_mask(truth_file, truth)
        authentic = i == 9
        kind = None if authentic else "copy_move"
        rows.append(records.ImageRecord(i, file, 2 * SIZE, SIZE, boxes, "test", "demo", truth_file, authentic, kind))
        square = photo[:, :SIZE].copy()
        samples.append(
            records.Sample(
                i, square, truth[:, :SIZE] * np.uint8(200), truth[:, :SIZE] * np.uint8(255), boxes,
                np.ones(len(boxes), np.float32), "demo", "train", authentic, kind or "", 2 * SIZE, SIZE,
            )
        )  # fmt: skip
        (run / "predictions/masks").mkdir(parents=True, exist_ok=True)
        images.write_probability(run / f"predictions/masks/{i}.png", truth * np.float32(i / 10))
        predictions.append({"file": str(file), "mask": f"masks/{i}.png", "overlay": "", "score": 0.5})
        cases.append(
            {
                "set": "demo",
                "image_id": i,
                "file": str(file),
                "mask_file": str(truth_file),
                "kind": "authentic" if authentic else "copy_move",
                "f1": 1.0 if authentic else i / 10,
                "iou": i / 20,
                "auc": None if authentic else 0.9,
            }
        )
    manifest.write_manifest(run / "data/manifest.json", rows)
    stamp = records.Stamp(shards.SCHEMA, SIZE, "grabcut", "", "0", "0.1.0")
    shards.write_shard(run / "pseudomasks/shard-000-00000.h5", samples, [], stamp, seconds=12.5)
    shards.write_index(run / "pseudomasks", stamp)
    interval = {"pseudo_mask_iou_ci_low": 0.66, "pseudo_mask_iou_ci_high": 0.74}
    write_json(
        run / "pseudomasks/audit.json", {"pseudo_mask_iou": 0.7, "box_iou": 0.45, "boundary_f1": 0.5, **interval}
    )
    write_json(
        run / "fit/fit.json",
        {"seconds_fit": 61.0, "images_train": 800, "command": "boxpromptiml fit", "environment": {"torch": "2.9"}},
    )
    (run / "fit/config.yaml").write_text("note: </pre><script>alert(2)</script>\n")
    (run / "fit/metrics.csv").write_text("epoch,step,train/loss,val/loss\n0,1,1.0,\n0,5,0.8,0.9\n")
    trivial = {"f1_all_positive": 0.2, "f1_random": 0.1, "f1_centre_box": 0.25, "f1_nothing": 0.0}
    sets = {
        "first": {**score(0.1), **trivial},
        "demo": {**score(0.45), **trivial, "by_kind": {"copy_move": score(0.45)}, "false_alarm_area": 0.02},
    }
    write_json(run / "test/scores.json", {"sets": sets, "per_image": cases, "environment": {}, "checkpoint": None})
    write_json(run / "predictions/predictions.json", {"images": predictions})
    return run


def text_of(run):
    report(run)
    return Page(run / "report.html").output()


def test_the_page_refers_to_nothing_outside_itself(run):
    assert report(run) == 0
    page = Page(run / "report.html")
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert "@import" not in page.source
    assert "url(" not in page.source
    assert "default-src 'none'" in page.source
    assert len(page.source) < 3e6


def test_hostile_names_are_shown_as_text(run):
    report(run)
    page = Page(run / "report.html")
    assert "script" not in page.tags
    assert HOSTILE in page.output()
    assert "</pre><script>alert(2)" in page.output(), "a config is shown as it is"


def test_headline_numbers_and_flat_metrics_agree_with_the_files(run, capsys):
    report(run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert all(value is None or isinstance(value, int | float) for value in metrics.values())
    expected = {
        "f1": 0.45,
        "f1_ci_low": 0.4,
        "f1_ci_high": 0.5,
        "iou": 0.225,
        "auc": 0.8,
        "f1_all_positive": 0.2,
        "f1_random": 0.1,
        "f1_centre_box": 0.25,
        "f1_nothing": 0.0,
        "pseudo_mask_iou": 0.7,
        "box_iou": 0.45,
        "boundary_f1": 0.5,
        "images_train": 800,
        "images_test": 9,
        "seconds_stage1": 12.5,
        "seconds_fit": 61.0,
    }
    assert {key: metrics[key] for key in expected} == pytest.approx(expected), "the set named demo is the headline"
    output = Page(run / "report.html").output()
    assert "mean F1 of 0.450 (95 % interval 0.400 to 0.500) over the 9 test images of demo" in output
    assert "1 min 1 s" in output
    printed = capsys.readouterr().out
    assert "F1 0.450" in printed
    assert str(run / "report.html") in printed


def test_a_student_no_better_than_a_trivial_predictor_is_marked(run):
    report(run)
    assert "The whole interval lies above" in Page(run / "report.html").output()
    scores = json.loads((run / "test/scores.json").read_text())
    scores["sets"]["demo"]["f1_centre_box"] = 0.42  # inside the student's interval
    write_json(run / "test/scores.json", scores)
    report(run)
    output = Page(run / "report.html").output()
    assert "not reliably better" in output
    assert "“a box in the centre” scores 0.420" in output


def test_other_sets_are_compared_with_trivial_predictors_too(run):
    report(run)
    output = Page(run / "report.html").output()
    assert "On first: a mean F1 of 0.100 over 9 images; that is not reliably better" in output
    assert "“a box in the centre” scores 0.250" in output
    scores = json.loads((run / "test/scores.json").read_text())
    scores["sets"]["first"] |= {**score(0.5), "false_alarm_area": 0.031}
    write_json(run / "test/scores.json", scores)
    report(run)
    output = Page(run / "report.html").output()
    assert (
        "On first: a mean F1 of 0.500 over 9 images; the best predictor that looks at no pixel scores 0.250" in output
    )
    assert "It marks 3.1 % of the pixels of authentic images." in output


def test_cases_are_the_best_median_and_worst_forgeries(run):
    report(run)
    output = Page(run / "report.html").output()
    for group, first in {"Best": HOSTILE, "Median": "photo5.jpg", "Worst": "photo0.jpg"}.items():
        assert f"{group} {first} · demo · copy-move · F1" in output
    assert "photo9" not in output, "an authentic image has no pixel score"


def test_pictures_show_the_box_the_ground_truth_and_the_prediction(run):
    report(run)
    page = Page(run / "report.html")
    truth = page.picture("truth", "photo7")
    assert truth.shape == (SIZE, 2 * SIZE, 3)
    assert truth[20, 40].min() > 200
    assert truth[3, 3].max() < 50
    prediction = page.picture("prediction", "photo7")
    assert prediction[20, 40].sum() > prediction[3, 3].sum() + 200
    plain = np.asarray(Image.open(run / "data/test/photo7.jpg")).astype(int)
    boxed = page.picture("photo and boxes", "photo7").astype(int)
    side = np.abs(boxed - plain)[8, 20:60].mean()
    assert side > 2 * np.abs(boxed - plain)[20, 70:].mean(), "the upper side of the box is drawn"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("data", "no such file"),
        ("pseudomasks/audit.json", "boxpromptiml audit"),
        ("pseudomasks", "boxpromptiml pseudomasks"),
        ("fit", "boxpromptiml fit"),
        ("fit/metrics.csv", "No training curves found"),
        ("test", "boxpromptiml test"),
        ("predictions", "boxpromptiml predict"),
    ],
)
def test_a_missing_part_is_named_with_its_command(run, part, words):
    (run / part).rename(run / "elsewhere")
    assert report(run) == (3 if part == "data" else 0), "photos that are gone are counted as not shown"
    assert words in Page(run / "report.html").output()
    assert json.loads((run / "metrics.json").read_text()).keys() >= {"f1", "pseudo_mask_iou", "seconds_fit"}


def test_an_unreadable_photo_is_named_and_the_rest_is_shown(run, capsys):
    (run / "data/test/photo7.jpg").write_bytes(b"not a photo")
    assert report(run) == 3
    assert "photo7.jpg" in capsys.readouterr().out
    page = Page(run / "report.html")
    assert "not a readable image" in page.output()
    assert page.picture("truth", "photo6").any()


def test_each_study_of_an_ablation_has_its_table(run):
    row = {"set": "demo", "images": 9, "iou": 0.3, "auc": 0.8, "f1_runs": [0.4, 0.5]}
    full = row | {"variant": "full", "f1": 0.45, "f1_ci_low": 0.4, "f1_ci_high": 0.5}
    less = row | {"variant": "no memory", "f1": 0.4, "f1_ci_low": 0.3, "f1_ci_high": 0.5}
    less |= {"f1_difference": {"mean": -0.05, "ci_low": -0.1, "ci_high": 0.01}}
    less |= {"auc_difference": {"mean": 0.02, "ci_low": 0.01, "ci_high": 0.03}}
    study = {"question": "What is memory worth?", "reference": "full", "axis": None, "rows": [full, less]}
    write_json(run / "ablation/ablation.json", {"studies": {"memory": study}, "seeds": [0, 1]})
    report(run)
    output = Page(run / "report.html").output()
    assert "What is memory worth?" in output
    assert "demo full 9 × 2 0.450 0.400–0.500 0.300 0.800 –" in output
    assert "no memory 9 × 2 0.400 0.300–0.500 0.300 0.800 -0.050 -0.100 to +0.010 +0.020 +0.010 to +0.030" in output


def test_area_groups_and_image_level_scores_are_shown_where_available(run):
    parts = {"under 1 %": score(0.2, 4), "from 25 %": score(0.6, 5)}
    alarms = {"images_authentic": 5, "false_alarm_area": 0.094, "false_alarm_rate": 0.8}
    whole = {"image_auc": 0.7, "image_auc_ci_low": 0.6, "image_auc_ci_high": 0.8, "image_balanced_accuracy": 0.55}
    content = {"sets": {"demo": score(0.45) | alarms | whole | {"by_area": parts, "f1_best_per_image": 0.61}}}
    write_json(run / "test/scores.json", content)
    output = text_of(run)
    assert "0.610 under 1 % 4 0.200" in output
    assert "9.4 % of the pixels of 5 authentic images are marked by mistake, in 80 % of them" in output
    assert "AUC 0.700" in output


def test_every_validation_set_has_its_row(run):
    assert "by validation set" not in text_of(run)
    rows = {name: {"images": n, "f1_pseudo_mask": f1} for name, n, f1 in (("casia1", 9, 0.4), ("nist16", 3, 0.6))}
    rows["casia1"] |= {"f1_truth": 0.3, "f1_truth_ci_low": 0.2, "f1_truth_ci_high": 0.35}
    together = {"images": 12, "f1_pseudo_mask": 0.45}
    write_json(run / "validate/agreement.json", {"sets": rows, "all": together, "checkpoint": None})
    output = text_of(run)
    assert "casia1 9 0.400 – 0.300 0.200–0.350 nist16 3 0.600 – – all images 12 0.450" in output
    write_json(run / "validate/agreement.json", {"sets": {"casia1": together}, "all": together})
    assert "all images 12" not in text_of(run), "the mean of one set is its own row"


def test_an_empty_folder_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="no results in this folder"):
        report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_page_can_be_written_elsewhere(run, tmp_path):
    report(run, tmp_path / "pages/demo.html")
    assert (tmp_path / "pages/demo.html").exists()
    assert (tmp_path / "pages/metrics.json").exists()
    assert not (run / "report.html").exists()


def test_the_report_does_not_import_torch():
    script = "import sys, boxpromptiml.apps.report.page; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_an_earlier_report_is_rewritten_and_a_foreign_file_is_not_replaced(run, tmp_path):
    page = tmp_path / "elsewhere/page.html"
    assert report(run, page) == report(run, page) == 0
    for name in ("page.html", "metrics.json"):
        ours = (page.parent / name).read_bytes()
        (page.parent / name).write_text("somebody's")
        with pytest.raises(InputError, match=rf"{name}: already exists .* --overwrite"):
            report(run, page)
        assert (page.parent / name).read_text() == "somebody's"
        (page.parent / name).write_bytes(ours)
    page.write_text("somebody's")
    assert report(run, page, overwrite=True) == 0
