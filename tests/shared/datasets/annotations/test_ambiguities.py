from pathlib import Path

import numpy as np
import pytest

from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.datasets.annotations.ambiguities import (
    cut_off,
    ignored_boxes,
    refuse_ambiguities,
    splits_without_boxes,
)
from boxpromptiml.datasets.annotations.drawn import Drawings, DrawnBox, DrawnImage


def drawings(*boxes, **more):
    return Drawings(Path(), [DrawnImage(("a.jpg",), list(boxes), **more)])


BOX = DrawnBox(("forged",), (10, 10, 40, 40))
FACE = DrawnBox(("face",), (10, 10, 40, 40))
NOTHING = DrawnBox((), (10, 10, 40, 40))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (drawings(BOX, FACE), "--labels"),
        (drawings(DrawnBox((), (0.1, 0.1, 0.4, 0.4))), "--units shares"),
        (drawings(), "--unboxed authentic"),
    ],
)
def test_an_ambiguity_names_its_option(given, words):
    with pytest.raises(InputError, match=words):
        refuse_ambiguities(Path("set.json"), given, None, may_be_bare=False)


@pytest.mark.parametrize(
    "given",
    [
        drawings(BOX, NOTHING),
        drawings(DrawnBox((), (0.1, 0.1, 0.4, 0.4)), shares=True),
        drawings(authentic=True),
        drawings(defect="skipped"),
    ],
)
def test_unambiguous_annotations_pass(given):
    refuse_ambiguities(Path("set.json"), given, None, may_be_bare=False)


def test_ignored_boxes_are_reported():
    assert ignored_boxes(drawings(BOX, FACE, NOTHING).images, ["forged"]) == [
        "2 boxes with other labels are ignored: face (1), without a label (1)"
    ]
    assert ignored_boxes(drawings(BOX, FACE).images, None) == []


def test_a_split_labelled_authentic_only_by_missing_boxes_is_reported():
    none, some = np.zeros((0, 4), np.float32), np.ones((1, 4), np.float32)
    records = [
        ImageRecord(1, Path("a.jpg"), 9, 9, some, "train", "s"),
        ImageRecord(2, Path("b.jpg"), 9, 9, none, "train", "s", authentic=True),
        ImageRecord(3, Path("c.jpg"), 9, 9, none, "val", "s", authentic=True),
    ]
    inferred = Drawings(Path(), [], inferred=True)
    assert splits_without_boxes(inferred, records) == ["val: none of its 1 images has a box; they count as authentic"]
    assert splits_without_boxes(Drawings(Path(), []), records) == []


def test_many_boxes_over_the_border_are_reported():
    assert cut_off(1, 3) == cut_off(0, 0) == []
    assert "2 of 3 boxes extend beyond their images" in cut_off(2, 3)[0]
