"""Samples and batches for training the student."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from boxpromptiml.shards import ShardReader
from stage2_distill.data.augmentation import Augmentation, training_transform
from stage2_distill.data.dataset import PseudoMaskDataset, unpack
from stage2_distill.data.preprocessing import Resize
from stage2_distill.data.sampling import Mixture, SeededDraws


def test_a_batch_has_the_documented_keys_shapes_and_ranges(cache):
    batch = unpack(default_collate([PseudoMaskDataset([ShardReader(cache)], Resize(64))[i] for i in (0, 1)]))
    stored = ShardReader(cache)[1]
    assert batch["image"].shape == (2, 3, 64, 64)
    assert batch["image"].is_contiguous()
    np.testing.assert_allclose(batch["image"][1].permute(1, 2, 0) * 255, stored.image, atol=1e-4)
    assert batch["pseudo_mask"].shape == (2, 1, 64, 64)
    assert set(batch["pseudo_mask"].unique().tolist()) == {0.0, 1.0}
    assert batch["has_truth"].tolist() == [False, True]
    assert torch.equal(batch["truth"][1, 0], torch.from_numpy(stored.truth / np.float32(255)))
    assert batch["weight"].tolist() == [1.0, 1.0]
    assert {name: str(batch[name].dtype) for name in batch} == dict.fromkeys(batch, "torch.float32") | {
        "has_truth": "torch.bool",
        "image_id": "torch.int64",
        "position": "torch.int64",
    }
    inside = batch["box_mask"][1, 0].bool()
    assert batch["pseudo_mask"][1, 0][~inside].max() == 0
    x1, y1, x2, y2 = stored.boxes_xyxy[0].astype(int)
    assert inside[y1:y2, x1:x2].all()
    assert inside.sum() == (x2 - x1) * (y2 - y1)


def test_teacher_confidence_can_weight_samples(cache):
    reader, resize = ShardReader(cache, ["train"]), Resize(64)
    weights = [
        [PseudoMaskDataset([reader], resize, confidence_power=power)[i]["weight"] for i in (0, 23)]
        for power in (0.0, 1.0, 2.0)
    ]
    assert reader[0].teacher_scores == pytest.approx([0.2])
    # the last is authentic and was not passed to the teacher
    np.testing.assert_allclose(weights, [[1, 1], [0.2, 1], [0.04, 1]], rtol=1e-6)


def test_augmentation_depends_only_on_seed_epoch_and_position(cache):
    dataset = PseudoMaskDataset([ShardReader(cache)], training_transform(64, Augmentation()))
    mixture = Mixture(dataset.sources, dataset.source_of)

    def draw(epoch, workers):
        sampler = SeededDraws(mixture, 1, 0, 3, first_epoch=epoch)
        loader = DataLoader(dataset, 4, sampler=sampler, num_workers=workers)
        return torch.cat([batch["image"] for batch in loader])

    torch.testing.assert_close(draw(1, workers=0), draw(1, workers=2), rtol=0, atol=0)
    assert not torch.equal(draw(1, workers=0), draw(2, workers=0))
    assert not np.array_equal(dataset[0, 1]["image"], dataset[0, 2]["image"])


def test_a_stream_extends_a_cache_and_varies_with_the_seed(cache, made_squares):
    dataset = PseudoMaskDataset([ShardReader(cache)], Resize(64), False, [made_squares(8)])
    assert len(dataset) == 30 + 6  # two of each are authentic
    assert dataset.sources == ["made", "squares"]
    assert [dataset.sources[i] for i in dataset.source_of[29:31]] == ["squares", "made"]
    assert np.array_equal(dataset[5, 1]["image"], dataset[5, 2]["image"])
    made = dataset[33, 1]
    assert np.array_equal(made["image"], dataset[33, 1]["image"])
    assert not np.array_equal(made["image"], dataset[33, 2]["image"])
    assert made["image_id"] == 4  # the fourth manipulated sample
    assert made["position"] == 33
    assert np.array_equal(made["pseudo_mask"], made["truth"])
    assert not any(dataset[p]["pseudo_mask"].sum() == 0 for p in range(30, 36))


def test_samples_without_a_source_are_unnamed_and_readers_can_be_named(cache, made_squares):
    stream = made_squares(4)
    stream.sources = np.array(["", "made", "", "made"])
    transform = Resize(64)
    assert PseudoMaskDataset([], transform, True, [stream]).sources == ["made", "unnamed"]
    named = PseudoMaskDataset([ShardReader(cache)] * 3, transform, names=["b", "a", "b"])
    assert named.sources == ["a", "b"]
    assert np.bincount(named.source_of).tolist() == [32, 64]


def test_a_dataset_can_be_sent_to_a_spawned_worker(cache):
    dataset = PseudoMaskDataset([ShardReader(cache)], Resize(64))
    before = dataset[5]["image"]
    assert np.array_equal(pickle.loads(pickle.dumps(dataset))[5]["image"], before)
