from dataclasses import replace
from pathlib import Path

import pytest

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.check.findings import Limits
from boxpromptiml.datasets.check.judge import judge
from boxpromptiml.datasets.check.measure import Entry, Facts

MANIPULATED = ImageRecord(7, Path("7.png"), 96, 80, as_boxes([(0, 0, 9, 9)]), "train", "set", Path("7_mask.png"))
AUTHENTIC = replace(MANIPULATED, boxes_xyxy=as_boxes([]), authentic=True)


@pytest.mark.parametrize(
    ("record", "facts", "codes"),
    [
        (MANIPULATED, Facts(mask_share=0.2), []),
        (MANIPULATED, Facts(mask_share=0.2, outside_share=0.1), []),
        (MANIPULATED, Facts(mask_share=0.2, outside_share=0.11, empty_boxes=1), ["outside_boxes", "empty_box"]),
        (MANIPULATED, Facts(mask_share=0.89), []),
        (MANIPULATED, Facts(mask_share=0.9), ["full_mask"]),
        (MANIPULATED, Facts(), []),
        (replace(MANIPULATED, split="test"), Facts(), ["no_truth"]),
        (AUTHENTIC, Facts(), []),
        (AUTHENTIC, Facts(mask_share=0.0), []),
        (replace(AUTHENTIC, split="test"), Facts(), []),
        (MANIPULATED, Facts(problem="missing_file", detail="no such file"), ["missing_file"]),
    ],
)
def test_measurements_give_the_expected_finding(record, facts, codes, limits):
    assert [finding.code for finding in judge(Entry(Path("set.json"), record, facts), limits)] == codes


def test_limits_are_applied(limits):
    entry = Entry(Path("set.json"), MANIPULATED, Facts(mask_share=0.5, outside_share=0.3))
    assert [finding.text for finding in judge(entry, limits)] == ["30% of its manipulated pixels lie outside every box"]
    assert not list(judge(entry, replace(limits, outside=0.5)))
    assert [finding.code for finding in judge(entry, Limits(0.1, 0.5, 14, True))] == ["full_mask"]
