"""The main loop: the teacher runs only on images not yet on disk; reading, inference and writing overlap."""

import time
from functools import partial
from threading import Event
from uuid import uuid4

import numpy as np
import pytest
from lightning.fabric import Fabric

from boxpromptiml.core.records import Stamp
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.shards import SCHEMA, CacheError, read_shard, shard_paths
from stage1_pseudomask import resume
from stage1_pseudomask.engine import Job, compute
from stage1_pseudomask.teachers import Candidates, Teacher

STAMP = Stamp(SCHEMA, 32, "counting", "", "0", "0")


class Counting(Teacher):
    """Stub teacher: certain of every pixel for every box; records the number of photos per batch."""

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


class Patient(Counting):
    """Stub teacher that waits in its first batch until further photos were read by other processes."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def preparation(self):
        return partial(noted, folder=self.folder)

    def embed(self, photos):
        limit = time.monotonic() + 60
        while len(list(self.folder.iterdir())) <= len(photos):
            assert time.monotonic() < limit, "nothing was read ahead"
            time.sleep(0.01)
        return super().embed(photos)


def noted(photo, folder):
    (folder / uuid4().hex).touch()
    return photo


def in_batches_of_two(manifest, folder, teacher, workers=0):
    pieces = resume.slices(read_manifest(manifest).records[:12], 6)
    compute(Fabric(accelerator="cpu", devices=1), pieces, Job(folder, STAMP, teacher, 0.0, 2, workers))


def test_photos_are_read_while_the_teacher_is_busy(manifest, tmp_path):
    (tmp_path / "read").mkdir()
    in_batches_of_two(manifest, tmp_path / "cache", Patient(tmp_path / "read"), workers=1)
    assert len(shard_paths(tmp_path / "cache")) == 2


def test_the_teacher_continues_while_a_batch_is_written(manifest, tmp_path, monkeypatch):
    teacher, write, asked_again = Counting(), resume.write_part, Event()
    monkeypatch.setattr(teacher, "seen", Notifying(asked_again))

    def slow(*arguments):
        assert asked_again.wait(60), "the teacher waited for the disk"
        write(*arguments)

    monkeypatch.setattr(resume, "write_part", slow)
    in_batches_of_two(manifest, tmp_path, teacher)
    assert len(shard_paths(tmp_path)) == 2


class Notifying(list):
    def __init__(self, second):
        self.second = second

    def append(self, count):
        super().append(count)
        if len(self) == 2:
            self.second.set()


def test_after_a_failed_write_no_shard_is_completed(manifest, tmp_path, monkeypatch):
    write, calls = resume.write_part, []

    def once_refused(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise CacheError("the disk was full for a moment")
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(resume, "write_part", once_refused)
        with pytest.raises(CacheError, match="for a moment"):
            in_batches_of_two(manifest, tmp_path, Counting())
    assert not shard_paths(tmp_path)
    in_batches_of_two(manifest, tmp_path, Counting())
    samples = [sample for path in shard_paths(tmp_path).values() for sample in read_shard(path, STAMP)[0]]
    assert [sample.image_id for sample in samples] == [100 + i for i in range(12) if i != 5]


@pytest.fixture
def run(manifest, tmp_path):
    def run(records):
        teacher = Counting()
        pieces = resume.slices(read_manifest(manifest).records[:records], 6)
        unfinished = [piece for piece in pieces if piece.place not in shard_paths(tmp_path)]
        compute(Fabric(accelerator="cpu", devices=1), unfinished, Job(tmp_path, STAMP, teacher, 0.0, 4, 0))
        return teacher.seen

    return run


def test_the_encoder_runs_once_per_batch_and_never_for_finished_images(run, tmp_path):
    assert run(6) == [4, 1]  # six images in batches of four; image 5 cannot be read
    assert run(6) == []
    assert run(12) == [3, 2]  # image 8 is authentic and not passed to the teacher
    assert [path.name for path in sorted(tmp_path.glob("*.h5"))] == ["shard-000-00000.h5", "shard-000-00001.h5"]


def test_masks_are_clipped_to_the_boxes_and_scores_are_those_of_the_teacher(run, tmp_path):
    run(6)
    samples, _ = read_shard(shard_paths(tmp_path)[0], STAMP)
    for sample in samples:
        inside = np.zeros((32, 32), bool)
        for x1, y1, x2, y2 in sample.boxes_xyxy:
            inside[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
        assert (sample.pseudo_mask > 127)[~inside].mean() < 0.05  # a border may fall inside a stored pixel
        assert (sample.pseudo_mask > 127)[inside].mean() > 0.7  # boxes are only a few pixels wide
        np.testing.assert_allclose(sample.teacher_scores, 0.9)
