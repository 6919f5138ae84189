"""Batched inference against ``SamPredictor`` on one image at a time, with trained weights, so masks are not noise."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from segment_anything import SamPredictor

from boxpromptiml.core.boxes import as_boxes, rasterize, with_margin
from boxpromptiml.shards import ShardReader
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers import sam_weights
from stage1_pseudomask.teachers.sam import SegmentAnything
from stage1_pseudomask.teachers.sam_weights import CHECKPOINT_VARIABLE


@pytest.fixture(scope="module")
def tiny():
    teacher = SegmentAnything("tiny")
    teacher.load(torch.device("cpu"))
    return teacher.model


def teach(model, variant, photos, boxes, **arguments):
    teacher = SegmentAnything(variant, **arguments)
    teacher.model = model
    prepare = teacher.preparation()
    sizes = [(photo.shape[1], photo.shape[0]) for photo in photos]
    return teacher.propose(teacher.embed([prepare(photo) for photo in photos]), boxes, sizes)


def one_by_one(model, photos, boxes, multimask_output=False):
    """Masks of the predictor for each photo, bool (N, C, H, W), and scores (N, C)."""
    predictor = SamPredictor(model)
    for photo, image_boxes in zip(photos, boxes, strict=True):
        predictor.set_image(photo)
        answers = [predictor.predict(box=box, multimask_output=multimask_output)[:2] for box in image_boxes]
        yield np.stack([masks for masks, _ in answers]), np.stack([scores for _, scores in answers])


def assert_parity(model, variant, photos, boxes, **arguments):
    batched = teach(model, variant, photos, boxes, **arguments)
    reference = one_by_one(model, photos, boxes, arguments.get("multimask_output", False))
    for candidates, (masks, scores) in zip(batched, reference, strict=True):
        found = candidates.probability.numpy() > 0.5
        assert found.shape == masks.shape
        assert (found != masks).mean(axis=(2, 3)).max() <= 0.001
        assert np.allclose(candidates.scores, np.clip(scores, 0, 1), atol=1e-4)


@pytest.mark.parametrize("multimask_output", [False, True])
def test_batches_give_the_masks_of_the_predictor(tiny, forgeries, multimask_output):
    photos, boxes, _ = zip(*forgeries, strict=True)
    assert_parity(tiny, "tiny", photos, boxes, multimask_output=multimask_output, boxes_at_once=5)


def test_half_precision_agrees_with_the_predictor_in_fp32(tiny, forgeries):
    photos, boxes, _ = zip(*forgeries, strict=True)
    with torch.autocast("cpu", torch.bfloat16):
        rough = teach(tiny, "tiny", photos, boxes)
    ious = []
    for candidates, (masks, _) in zip(rough, one_by_one(tiny, photos, boxes), strict=True):
        assert candidates.probability.dtype == torch.float32
        found = candidates.probability.numpy() > 0.5
        wrong, union = (found ^ masks).sum((1, 2, 3)), (found | masks).sum((1, 2, 3))
        ious += (1 - wrong / union.clip(min=1)).tolist()
    assert len(ious) > 30
    assert np.mean(ious) >= 0.99


def test_the_small_network_segments_objects_rather_than_boxes(tiny, forgeries):
    photos, boxes, truths = zip(*forgeries, strict=True)
    for_boxes, for_masks = [], []
    for candidates, xyxy, truth in zip(teach(tiny, "tiny", photos, boxes), boxes, truths, strict=True):
        box = rasterize(xyxy[:1], truth.shape[1], truth.shape[0])
        mask, held = candidates.probability[0, 0].numpy() > 0.5, truth & box
        for_masks.append((mask & held).sum() / (mask | held).sum())
        for_boxes.append(held.sum() / box.sum())
    assert np.mean(for_masks) > np.mean(for_boxes) + 0.03


def test_images_without_boxes_have_no_candidates(tiny, forgeries):
    photos = [photo for photo, _, _ in forgeries[:2]]
    none, one = teach(tiny, "tiny", photos, [as_boxes([]), as_boxes([(5, 5, 90, 80)])])
    assert none.probability.shape == (0, 1, *photos[0].shape[:2])
    assert one.probability.shape == (1, 1, *photos[1].shape[:2])
    assert [len(each.scores) for each in teach(tiny, "tiny", photos, [as_boxes([])] * 2)] == [0, 0]


def test_a_whole_cache_is_made_with_it(manifest, tmp_path):
    teacher = SegmentAnything("tiny")
    code = pseudomasks(
        manifest, tmp_path / "cache", teacher, size=64, margin=0.1, accelerator="cpu", devices=1, precision="bf16-mixed"
    )
    assert code == 3  # two photos are broken
    reader = ShardReader(tmp_path / "cache")
    assert reader.index.stamp.teacher == "sam_tiny"
    assert reader.index.stamp.weights_sha256 == teacher.weights_sha256
    for sample in (reader[i] for i in range(len(reader))):
        reach = rasterize(with_margin(sample.boxes_xyxy, 0.1, 64, 64), 64, 64)
        near = ndimage.binary_dilation(reach, np.ones((3, 3)))  # resized from another resolution
        assert not sample.pseudo_mask[~near].any()
        assert sample.authentic or sample.pseudo_mask.any()


@pytest.mark.weights
@pytest.mark.timeout(1800)
def test_parity_holds_with_real_weights(forgeries):
    path = os.environ.get(CHECKPOINT_VARIABLE)
    if not path:
        pytest.skip(f"{CHECKPOINT_VARIABLE} names no file")
    (variant,) = (v for v in sam_weights.CHECKPOINTS if v in Path(path).name)
    photos, boxes, _ = zip(*forgeries[:3], strict=True)
    assert_parity(sam_weights.build(variant, Path(path)), variant, photos, boxes)
