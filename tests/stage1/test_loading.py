"""Inputs of the teacher for each image of a manifest."""

import numpy as np

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, Sample, SetAside
from boxpromptiml.manifests.manifest import read_manifest
from stage1_pseudomask.loading import Prompt, Prompts, loader
from stage1_pseudomask.teachers.grabcut import GrabCut
from stage1_pseudomask.teachers.sam import SegmentAnything


def half(photo):
    return images.resize_photo(photo, photo.shape[1] // 2, photo.shape[0] // 2)


def test_photo_and_boxes_have_the_same_resolution_and_the_sample_the_stored_size(manifest):
    record = read_manifest(manifest).records[0]
    item = Prompts([record], 32, half)[0]
    assert isinstance(item, Prompt)
    assert item.photo.shape == (record.height // 2, record.width // 2, 3)
    height, width = item.photo.shape[:2]
    factors = np.array([width / record.width, height / record.height] * 2)
    np.testing.assert_allclose(item.boxes_xyxy, record.boxes_xyxy * factors, rtol=1e-5)
    assert item.sample.image.shape == (32, 32, 3)
    stored = np.array([32 / record.width, 32 / record.height] * 2)
    np.testing.assert_allclose(item.sample.boxes_xyxy, record.boxes_xyxy * stored, rtol=1e-5)
    assert not item.sample.pseudo_mask.any()
    assert set(np.unique(item.sample.truth)) == {0, 255}


def test_authentic_images_need_no_teacher_and_broken_ones_have_a_reason(manifest):
    records = {record.image_id: record for record in read_manifest(manifest).records}
    authentic, empty, mask = Prompts([records[108], records[105], records[117]], 32, half)
    assert isinstance(authentic, Sample)
    assert authentic.authentic
    assert isinstance(empty, SetAside)
    assert "the file is empty" in empty.reason
    assert isinstance(mask, SetAside)
    assert "the mask is" in mask.reason


def test_batches_have_the_requested_lengths_in_order_for_any_number_of_workers(manifest):
    records = read_manifest(manifest).records[:5]
    for workers in (0, 2):
        batches = list(loader(Prompts(records, 32, half), [2, 1, 2], workers))
        assert [len(batch) for batch in batches] == [2, 1, 2]
        assert [item.sample.image_id for batch in batches for item in batch] == [r.image_id for r in records]


def test_a_photo_too_thin_for_sam_affects_no_other(tmp_path):
    """600 × 1 pixels become less than half a pixel high when the longer side has 256."""
    images.write_photo(tmp_path / "thin.png", np.zeros((1, 600, 3), np.uint8))
    record = ImageRecord(1, tmp_path / "thin.png", 600, 1, as_boxes([(100, 0, 150, 1)]), "train", "set")
    item = Prompts([record], 32, SegmentAnything("tiny").preparation())[0]
    assert isinstance(item, SetAside)
    assert item.reason.startswith("600×1 pixels are too thin for SAM")
    assert isinstance(Prompts([record], 32, GrabCut().preparation())[0], Prompt)
