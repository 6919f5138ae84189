import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from boxpromptiml.apps.ablation.plan import Study, Variant
from boxpromptiml.apps.ablation.tables import draw, markdown, study_rows
from boxpromptiml.apps.run_results import Ablation
from boxpromptiml.core.records import InputError
from boxpromptiml.images import read_photo


def write_scores(path, f1, sets=("same", "other")):
    """A run with the given F1 per image, the same on every test set; IoU is half of it."""
    cases = [
        {"set": name, "image_id": i, "file": f"{i}.png", "kind": "splice", "f1": v, "iou": v / 2, "auc": 0.5 + v / 2}
        for name in sets
        for i, v in enumerate(f1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"sets": {name: {"images": len(f1)} for name in sets}, "scoring": {"precision": "32-true"}}
    path.write_text(json.dumps(content | {"per_image": cases}))
    return path


@pytest.fixture
def study():
    return Study("What is it worth?", {"with": Variant(), "without": Variant({"a": 0})}, "with", sets=["same"])


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.2, 0.8, 40)
    return {
        name: [write_scores(tmp_path / name / str(s), list(hard + gain + rng.normal(0, 0.01, 40))) for s in range(3)]
        for name, gain in (("with", 0.0), ("without", -0.1))
    }


def test_rows_are_means_over_images_and_seeds_beside_the_reference(study, files):
    reference, other = study_rows(study, files).rows
    assert reference.f1_difference is None
    assert (other.variant, other.set_name, other.images, len(other.f1_runs)) == ("without", "same", 40, 3)
    assert other.f1 == pytest.approx(np.mean(other.f1_runs))
    found = other.f1_difference
    assert found.mean == pytest.approx(-0.1, abs=0.01)
    assert found.ci_low < -0.09 < found.ci_high + 0.02 < 0
    assert other.auc_difference.mean == pytest.approx(found.mean / 2)  # the factor used by write_scores
    assert other.iou == pytest.approx(other.f1 / 2)
    assert other.f1_ci_high - other.f1_ci_low > 5 * (found.ci_high - found.ci_low)


def test_all_sets_are_rows_unless_some_are_selected(study, files):
    everything = study_rows(replace(study, sets=[]), files)
    assert [(row.set_name, row.variant) for row in everything.rows] == [
        ("same", "with"), ("same", "without"), ("other", "with"), ("other", "without"),
    ]  # fmt: skip


def test_pooled_sets_have_a_row_in_which_every_image_counts_the_same(study, tmp_path):
    files = {name: [write_scores(tmp_path / name, [0.2, 0.4], ["small"])] for name in ("with", "without")}
    for file in tmp_path.iterdir():
        content = json.loads(file.read_text())
        more = {"set": "large", "file": "9.png", "kind": "splice", "f1": 0.9, "iou": 0.8, "auc": 0.9}
        content["per_image"] += [more | {"image_id": image_id} for image_id in range(6)]
        content["sets"]["large"] = {"images": 6}
        file.write_text(json.dumps(content))
    rows = study_rows(replace(study, sets=[], pools={"both": ["small", "large"]}), files).rows
    assert [(row.set_name, row.images) for row in rows][::2] == [("small", 2), ("large", 6), ("both", 8)]
    assert rows[-1].f1 == pytest.approx((0.2 + 0.4 + 6 * 0.9) / 8)


def test_a_set_without_scores_is_refused(study, files):
    with pytest.raises(InputError, match="no scores for smae; the runs have scores for: same, other"):
        study_rows(replace(study, pools={"both": ["smae", "other"]}), files)


def test_variants_not_tested_yet_are_reported(study, files, tmp_path):
    files["without"] = [tmp_path / "nowhere.json"]
    page = markdown({"worth": study}, Ablation({"worth": study_rows(study, files)}, [0, 1, 2]))
    assert "Not finished: without." in page
    files["with"] = files["without"]
    assert study_rows(study, files).rows == []
    assert "Not finished: with, without." in markdown(
        {"worth": study}, Ablation({"worth": study_rows(study, files)}, [0])
    )


def test_the_page_has_a_table_and_a_figure_for_each_study(study, files):
    ablation = Ablation({"worth": study_rows(study, files)}, [0, 1, 2], "boxpromptiml ablation", {"python": "3.11"})
    page = markdown({"worth": study}, ablation)
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert table[0] == "| variant | images | runs | F1 | IoU | AUC | F1 − with | AUC − with |"
    assert {line.count("|") for line in table} == {9}
    assert "![What is it worth?](worth.png)" in page
    assert "seeds 0, 1, 2" in page
    again = msgspec.json.decode(msgspec.json.encode(ablation), type=Ablation)
    assert again.studies["worth"].rows == ablation.studies["worth"].rows


@pytest.mark.parametrize("axis", [None, "looseness"])
@pytest.mark.parametrize("sets", [["same"], ["same", "other"]])
def test_figures_are_not_empty(files, tmp_path, axis, sets):
    names = {"0": "with", "15": "without"} if axis else {"with": "with", "without": "without"}
    study = Study("?", dict.fromkeys(names, Variant()), next(iter(names)), axis, sets)
    draw(study_rows(study, {label: files[name] for label, name in names.items()}), tmp_path / "figure.png")
    picture = read_photo(tmp_path / "figure.png")
    assert picture.shape[1] > 600
    assert 0.005 < (picture.min(axis=2) < 200).mean() < 0.3


def test_a_set_without_manipulated_images_has_no_row(study, files):
    for paths in files.values():
        for path in paths:
            content = json.loads(path.read_text())
            path.write_text(json.dumps(content | {"sets": content["sets"] | {"authentic": {"images": 0}}}))
    rows = study_rows(replace(study, sets=[]), files).rows
    assert {row.set_name for row in rows} == {"same", "other"}
