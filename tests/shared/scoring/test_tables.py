"""Tables for documents: their numbers come from the summary, with published scores beside them."""

import re

import pytest

from boxpromptiml.scoring.protocol import Scoring
from boxpromptiml.scoring.tables import cell, latex, markdown, text


def scores(images, f1):
    interval = {"f1_ci_low": f1 - 0.05, "f1_ci_high": f1 + 0.05}
    return {"images": images, "f1": f1, **interval, "iou": f1 - 0.1, "auc": 0.9, "f1_best_per_image": f1 + 0.2}


@pytest.fixture
def summary():
    """Summary of CASIA v1 with all scores, a set of authentic images only, and a set without published scores."""
    kinds = {"copy_move": scores(8, 0.41), "splice": scores(13, 0.52)}
    return {
        "casia1": {
            **scores(21, 0.478),
            **{"f1_best_per_set": 0.533, "threshold_best_per_set": 0.31},
            **{"images_authentic": 20, "false_alarm_area": 0.071, "false_alarm_rate": 0.55},
            **{"image_auc": 0.812, "image_balanced_accuracy": 0.644},
            "by_kind": kinds,
            "by_area": {"below 1 %": scores(21, 0.478)},
        },
        "authentic": {"images": 0, "images_authentic": 3, "false_alarm_area": 0.0, "false_alarm_rate": 0.0},
        "my_set": {**scores(4, 0.6), "by_kind": {}, "by_area": {}},
    }


def test_the_text_has_a_row_for_each_set_and_each_subset(summary):
    header, *rows = text(summary).splitlines()
    assert [row.split()[:2] for row in rows] == [
        ["casia1", "21"],
        ["copy_move", "8"],
        ["splice", "13"],
        ["authentic", "20"],
        ["whole", "images"],
        ["published", "920"],
        ["authentic", "0"],
        ["authentic", "3"],
        ["my_set", "4"],
    ]
    f1 = header.index("F1")
    assert [row[f1 : f1 + 5] for row in rows[:3]] == ["0.478", "0.410", "0.520"]
    assert "marked by mistake: 7.1% of pixels, in 55.0% of images" in rows[3]
    assert len({len(row) for row in rows if re.search(r" to ", row)}) == 1


def test_markdown_is_one_table_with_published_numbers_beside(summary):
    table, notes = markdown(summary, Scoring(mode="double")).split("\n\n")
    header, line, *rows = ([part.strip() for part in row.strip("|").split("|")] for row in table.splitlines())
    assert {len(row) for row in rows} == {len(header)} == {len(line)}
    casia1 = dict(zip(header, rows[0], strict=True))
    assert casia1["F1 (95 % interval)"] == "0.478 (0.428 to 0.528)"
    assert casia1["best F1 per set (at)"] == "0.533 (0.31)"
    assert casia1["image AUC"] == "0.812"
    assert casia1["false alarms: pixels, images"] == "7.1%, 55.0%"
    assert casia1["published F1"] == "BoxPromptIML (box) 0.552, SCAF (scribble) 0.530, WSCL (image label) 0.140"
    assert [row[0] for row in rows] == ["casia1", "– copy_move", "– splice", "authentic", "my_set"]
    assert rows[-1][-1] == ""
    assert "mode double" in notes
    assert "arXiv 2511.20359" in notes
    assert "casia1: 21 images here, 920 in the publication" in notes


def test_without_published_numbers_no_source_is_named(summary):
    assert "arXiv" not in markdown({"my_set": summary["my_set"]}, Scoring())


def test_the_mean_of_the_four_sets_is_shown_beside_that_of_the_paper(summary):
    four = {
        name: scores(10, f1)
        for name, f1 in zip(("casia1", "Columbia", "coverage", "NC16"), (0.5, 0.7, 0.3, 0.4), strict=True)
    }
    row = markdown(four, Scoring()).split("\n\n")[0].splitlines()[-1]
    assert row.startswith("| in distribution |  | 0.475 |")
    assert "BoxPromptIML (box) 0.619" in row
    assert "PIM (mask) 0.648" in row


def test_special_characters_are_escaped_in_latex(summary):
    lines = latex(summary, Scoring()).splitlines()
    body = [line for line in lines if line.endswith(r"\\")]
    assert lines[0].startswith("% ")
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1
    assert not [line for line in body if re.search(r"(?<!\\)[%_#$]", line)]
    columns = next(line for line in lines if line.startswith(r"\begin{tabular}"))
    assert len(re.search(r"\{([lcr]+)\}$", columns)[1]) == body[0].count("&") + 1
    assert r"-- copy\_move & 8 & 0.410 (0.360 to 0.460)" in body[2]
    assert r"a\{b\}\textbackslash{}c\textasciicircum{} &" in latex({r"a{b}\c^": summary["my_set"]}, Scoring())


def test_a_missing_score_is_a_dash():
    assert cell({"f1": 0.5}, "f1") == "0.500"
    assert cell({}, "f1").strip() == "–"
