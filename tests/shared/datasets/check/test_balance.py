from dataclasses import replace
from pathlib import Path

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.check.balance import Range, balance
from boxpromptiml.datasets.check.measure import Entry, Facts


def test_counts_and_ranges_match_a_hand_computed_case():
    splice = ImageRecord(1, Path("1"), 100, 80, as_boxes([(0, 0, 9, 9)]), "train", "a", Path("m"), kind="splice")
    removal = replace(splice, width=200, boxes_xyxy=as_boxes([(0, 0, 9, 9)] * 3), source="b", kind="removal")
    boxed = replace(splice, width=300, mask_path=None, kind=None)
    authentic = replace(splice, height=40, boxes_xyxy=as_boxes([]), mask_path=None, authentic=True, kind=None)
    facts = [Facts(mask_share=0.1, box_share=0.2), Facts(mask_share=0.3, box_share=0.5), Facts(box_share=0.4), Facts()]
    records = [splice, removal, boxed, authentic]
    found = balance([Entry(Path("set.json"), *each) for each in zip(records, facts, strict=True)], twins=1)
    assert (found.images, found.manipulated, found.authentic, found.with_truth, found.twins) == (4, 3, 1, 2, 1)
    assert found.sources == {"a": 3, "b": 1}
    assert found.kinds == {"splice": 1, "removal": 1, "": 1}
    assert found.width == Range(100, 150, 300)
    assert found.height == Range(40, 80, 80)
    assert found.boxes == Range(1, 1, 3)
    assert found.box_share == Range(0.2, 0.4, 0.5)
    assert found.mask_share == Range(0.1, 0.2, 0.3)


def test_an_empty_split_has_no_ranges():
    found = balance([], twins=0)
    assert (found.images, found.width, found.mask_share) == (0, None, None)
