import pickle
from dataclasses import fields

import numpy as np
import pytest

from boxpromptiml.core.boxes import rasterize
from boxpromptiml.core.records import InputError
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.synthesis.generate import synthesize
from boxpromptiml.synthesis.stream import ForgeryStream


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("streamed") / "forgeries"
    assert synthesize(out, train=30, val=3, test=3, size=48, stream_train=True, workers=1) == 0
    return out


def test_no_training_images_are_written(folder):
    assert {record.split for record in read_manifest(folder / "manifest.json").records} == {"val", "test"}
    assert not list(folder.rglob("train-*"))


def test_samples_have_exact_masks_with_boxes_around_them(folder):
    stream = ForgeryStream(str(folder), 40)
    assert len(stream) == len(stream.authentic) == len(stream.sources) == 40
    kinds = set()
    for index in range(40):
        sample = stream.draw(index, 5)
        kinds.add(sample.kind)
        assert sample.image.shape == (48, 48, 3)
        assert sample.authentic == stream.authentic[index] == (not sample.truth.any()) == (not len(sample.boxes_xyxy))
        np.testing.assert_array_equal(sample.pseudo_mask, sample.truth)
        assert set(np.unique(sample.truth)) <= {0, 255}
        unboxed = (sample.truth > 0) & ~rasterize(sample.boxes_xyxy, 48, 48)
        assert unboxed.sum() <= 2  # single pixels get no separate box
        assert len(sample.teacher_scores) == len(sample.boxes_xyxy)
    assert kinds == {"", "splice", "copy_move", "removal"}
    assert 0 < stream.authentic.mean() < 0.4


def same(one, other):
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def test_a_sample_depends_only_on_index_and_seed_in_any_process(folder):
    stream = ForgeryStream(str(folder), 10)
    sent = pickle.loads(pickle.dumps(stream))
    assert same(stream.draw(3, 1), sent.draw(3, 1))
    assert not same(stream.draw(3, 1), stream.draw(3, 2))
    assert not same(stream.draw(3, 1), stream.draw(4, 1))


def test_only_photos_of_the_split_are_forged(folder):
    assert {photo.split for photo in ForgeryStream(str(folder), 1).forger.photos} == {"train"}
    assert {photo.split for photo in ForgeryStream(str(folder), 1, "val").forger.photos} == {"val"}


def test_a_folder_without_a_plan_is_named_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match="synthesize --stream_train"):
        ForgeryStream(str(tmp_path), 5)
