"""The test set on which the student is scored."""

import pytest

from boxpromptiml import images
from boxpromptiml.manifests.manifest import ManifestError, read_manifest
from stage2_distill.data.test_set import ScoredDataset, collate_scored, scorable


def test_ground_truth_keeps_its_original_size(test_manifest):
    records = scorable(read_manifest(test_manifest))
    batch = collate_scored([ScoredDataset(records, 32)[i] for i in range(2)])
    assert batch["image"].shape == (2, 3, 32, 32)
    for truth, record in zip(batch["truth"], records, strict=False):
        assert (truth.numpy() == images.read_mask(record.mask_path)).all()


def test_an_unreadable_photo_is_reported_and_not_scored(test_manifest):
    dataset = ScoredDataset(scorable(read_manifest(test_manifest)), 32)
    assert dataset[3]["truth"] is None
    assert "3.png: the file is empty" in dataset[3]["problem"]
    assert not dataset[5]["truth"].any()  # authentic


def test_a_manifest_without_ground_truth_cannot_be_scored(tmp_path):
    path = tmp_path / "m.json"
    image = '{"id": 1, "file_name": "a.png", "width": 8, "height": 8, "split": "%s"}'
    box = '{"id": 1, "image_id": 1, "bbox": [1, 1, 2, 2]}'
    for split, message in (("train", '"split": "test"'), ("test", r"a.png has no mask_file")):
        path.write_text(f'{{"images": [{image % split}], "annotations": [{box}]}}')
        with pytest.raises(ManifestError, match=message):
            scorable(read_manifest(path))
