"""Selection of the hardest images, against hand-written scores."""

import json

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.shards import ShardReader
from stage2_distill.callbacks import hardest_images
from stage2_distill.data.dataset import PseudoMaskDataset
from stage2_distill.data.preprocessing import Resize
from stage2_distill.data.test_set import scorable
from stage2_distill.evaluation.metrics import COLUMNS
from stage2_distill.losses.distillation import DistillationLoss
from stage2_distill.model.student import Student
from stage2_distill.module import Distillation

SIZE = 64


@pytest.fixture(scope="module")
def module():
    student = Student("mobilenetv3_small_050", pretrained=False, image_size=SIZE, channels=16, prototypes=4)
    return Distillation(student, DistillationLoss()).eval()


def test_validation_images_with_the_lowest_agreement_come_first(module, cache, tmp_path):
    dataset = PseudoMaskDataset([ShardReader(cache, ["val"])], Resize(SIZE), authentic=False)
    f1 = [0.9, 0.2, np.nan, 0.4, 0.1, 0.6, 0.7]
    rows = np.array([[position, value, value / 2, np.nan, np.nan] for position, value in enumerate(f1)])
    cases = hardest_images.of_validation(module, dataset, rows, 3)
    assert [facts["f1_pseudo_mask"] for facts in cases.facts] == [0.1, 0.2, 0.4]
    assert [facts["image_id"] for facts in cases.facts] == [dataset[p]["image_id"] for p in (4, 1, 3)]
    assert cases.facts[0] == {
        **{"image_id": 28, "source": "squares", "f1_pseudo_mask": 0.1, "iou_pseudo_mask": 0.05},
        **{"f1_truth": None, "iou_truth": None},
    }
    cases.write(tmp_path / "worst.png")
    assert json.loads((tmp_path / "worst.json").read_text())["images"] == cases.facts
    drawn = np.asarray(Image.open(tmp_path / "worst.png"))
    assert drawn.shape == (3 * SIZE, 5 * SIZE, 3)
    target = dataset[4]["pseudo_mask"]
    assert (drawn[:SIZE, SIZE : 2 * SIZE, 0] == target).all()  # the second panel of the worst image is its pseudo-mask


def test_without_scores_nothing_is_shown(module, cache):
    dataset = PseudoMaskDataset([ShardReader(cache, ["val"])], Resize(SIZE))
    rows = np.array([[0, np.nan, np.nan, np.nan, np.nan]])
    assert hardest_images.of_validation(module, dataset, rows, 3).facts == []


def test_test_images_with_the_lowest_f1_and_largest_false_alarms(module, test_manifest):
    records = scorable(read_manifest(test_manifest))
    f1 = [0.5, 0.3, 0.8, np.nan, 0.1, 0.0]  # the fourth photo cannot be read, the last one is authentic
    rows = np.zeros((6, len(COLUMNS)))
    rows[:, 1] = range(6)
    rows[:, COLUMNS.index("f1")] = f1
    rows[5, COLUMNS.index("predicted_area")] = 0.25
    worst, alarms = hardest_images.of_test(module, {"squares": records}, rows, SIZE, 2)
    assert [(facts["set"], facts["image_id"], facts["f1"]) for facts in worst.facts] == [
        ("squares", 104, 0.1),
        ("squares", 101, 0.3),
    ]
    assert [(facts["image_id"], facts["kind"], facts["predicted_area"]) for facts in alarms.facts] == [
        (105, "authentic", 0.25)
    ]
    photo, truth, _ = worst.pictured[0]
    assert photo.shape == (SIZE, SIZE, 3)
    inside = truth[..., 0] > 0
    assert photo[inside].mean() > photo[~inside].mean() + 50  # the ground truth marks the bright square
    assert worst.table().columns == ["photo, truth, prediction", *hardest_images.TESTED]
