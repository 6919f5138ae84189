"""The loop asks the teacher only what is not on disk yet."""

import numpy as np
import pytest
from lightning.fabric import Fabric

from boxpromptiml.manifest import read_manifest
from boxpromptiml.records import Stamp
from boxpromptiml.shards import SCHEMA, read_shard, shard_paths
from stage1_pseudomask import resume
from stage1_pseudomask.engine import Job, compute
from stage1_pseudomask.teachers import Candidates, Teacher

STAMP = Stamp(SCHEMA, 32, "counting", "", "0", "0")


class Counting(Teacher):
    """Answers every box with certainty everywhere, and counts the photos it was shown."""

    name = "counting"
    settings = {}  # noqa: RUF012 (a property in the base class)

    def __init__(self):
        self.seen = []

    def preparation(self):
        return np.asarray

    def embed(self, photos):
        self.seen.append(len(photos))
        return photos

    def propose(self, embedding, boxes, frames):
        return [
            Candidates(np.ones((len(each), 1, height, width), np.float32), np.full((len(each), 1), 0.9, np.float32))
            for each, (width, height) in zip(boxes, frames, strict=True)
        ]


@pytest.fixture
def run(manifest, tmp_path):
    def run(records):
        teacher = Counting()
        pieces = resume.slices(read_manifest(manifest).records[:records], 6)
        unfinished = [piece for piece in pieces if piece.place not in shard_paths(tmp_path)]
        compute(Fabric(accelerator="cpu", devices=1), unfinished, Job(tmp_path, STAMP, teacher, 0.0, 4, 0))
        return teacher.seen

    return run


def test_one_call_of_the_encoder_for_a_batch_and_none_for_what_is_done(run, tmp_path):
    assert run(6) == [4, 1]  # six images in batches of four; image 5 cannot be read
    assert run(6) == []
    assert run(12) == [3, 2]  # image 8 is authentic, and nobody is asked about it
    assert [path.name for path in sorted(tmp_path.glob("*.h5"))] == ["shard-000-00000.h5", "shard-000-00001.h5"]


def test_masks_are_cut_to_the_boxes_and_scores_are_the_teachers(run, tmp_path):
    run(6)
    samples, _ = read_shard(shard_paths(tmp_path)[0], STAMP)
    for sample in samples:
        inside = np.zeros((32, 32), bool)
        for x1, y1, x2, y2 in sample.boxes_xyxy:
            inside[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
        assert (sample.pseudo_mask > 127)[~inside].mean() < 0.05  # the border may fall on half a stored pixel
        assert (sample.pseudo_mask > 127)[inside].mean() > 0.7  # and boxes are few pixels wide
        np.testing.assert_allclose(sample.teacher_scores, 0.9)
