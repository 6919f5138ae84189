import errno
import os
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.utils.data import DataLoader

from boxpromptiml.records import Sample, SetAside, Stamp
from boxpromptiml.shards import (
    SCHEMA,
    CacheError,
    ShardReader,
    read_index,
    read_shard,
    write_index,
    write_shard,
)

SIZE = 8
STAMP = Stamp(SCHEMA, SIZE, "grabcut", "", "0123456789abcdef", "0.1.0")
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def make_sample(image_id, boxes=1, split="train", authentic=False):
    rng = np.random.default_rng(image_id)
    return Sample(
        image_id=image_id,
        image=rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        pseudo_mask=rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8),
        truth=None if image_id % 2 else rng.integers(0, 2, (SIZE, SIZE), dtype=np.uint8) * 255,
        boxes_xyxy=rng.random((boxes, 4), dtype=np.float32) * SIZE,
        teacher_scores=rng.random(boxes, dtype=np.float32),
        source=f"set {image_id % 3}",
        split=split,
        authentic=authentic,
        kind="splice",
        width=640,
        height=480,
    )


def same(a, b):
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Sample))


pixels = hnp.arrays(np.uint8, (SIZE, SIZE))
words = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)


@st.composite
def samples(draw):
    count = draw(st.integers(0, 3))
    return Sample(
        image_id=draw(st.integers(0, 2**63 - 1)),
        image=draw(hnp.arrays(np.uint8, (SIZE, SIZE, 3))),
        pseudo_mask=draw(pixels),
        truth=draw(st.none() | pixels),
        boxes_xyxy=draw(hnp.arrays(np.float32, (count, 4), elements=st.floats(0, SIZE, width=32))),
        teacher_scores=draw(hnp.arrays(np.float32, count, elements=st.floats(0, 1, width=32))),
        source=draw(words),
        split=draw(st.sampled_from(["train", "val", "test"])),
        authentic=draw(st.booleans()),
        kind=draw(words),
        width=draw(st.integers(1, 10**5)),
        height=draw(st.integers(1, 10**5)),
    )


@settings(in_one_folder, max_examples=30)
@given(
    written=st.lists(samples(), max_size=4),
    set_aside=st.lists(st.builds(SetAside, st.integers(0, 99), words, words), max_size=3),
)
def test_what_is_written_is_read(tmp_path, written, set_aside):
    path = tmp_path / "shard-000-00000.h5"
    write_shard(path, written, set_aside, STAMP)
    read, read_set_aside = read_shard(path, STAMP)
    assert len(read) == len(written)
    assert all(same(a, b) for a, b in zip(read, written, strict=True))
    assert read_set_aside == set_aside


def test_many_images_can_be_set_aside(tmp_path):
    # HDF5 keeps small attributes in a header of at most 64 KiB.
    set_aside = [SetAside(i, "photo.jpg" * 20, "unreadable" * 10) for i in range(1000)]
    write_shard(tmp_path / "s.h5", [], set_aside, STAMP)
    assert read_shard(tmp_path / "s.h5", STAMP)[1] == set_aside


@settings(in_one_folder, max_examples=30)
@given(keep=st.floats(0, 0.9999))
def test_a_shard_cut_short_is_refused_by_name(tmp_path, keep):
    path = tmp_path / "s.h5"
    write_shard(path, [make_sample(0), make_sample(1)], [], STAMP)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(CacheError, match=r"s\.h5: the shard is damaged or cut off"):
        read_shard(path, STAMP)


@settings(in_one_folder, max_examples=150)
@given(where=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_harmless(tmp_path, where, bit):
    path = tmp_path / "s.h5"
    written = [make_sample(0), make_sample(1, boxes=3)]
    write_shard(path, written, [SetAside(7, "a.jpg", "empty")], STAMP)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        read, set_aside = read_shard(path, STAMP)
    except CacheError:
        return
    assert all(same(a, b) for a, b in zip(read, written, strict=True))
    assert set_aside == [SetAside(7, "a.jpg", "empty")]


@pytest.mark.parametrize("field", [field.name for field in fields(Stamp)])
def test_a_shard_of_another_run_is_refused_naming_the_field(tmp_path, field):
    write_shard(tmp_path / "s.h5", [make_sample(0)], [], STAMP)
    other = replace(STAMP, **{field: 99 if isinstance(getattr(STAMP, field), int) else "other"})
    with pytest.raises(CacheError, match=rf"s\.h5: made with {field} "):
        read_shard(tmp_path / "s.h5", other)
    assert len(read_shard(tmp_path / "s.h5", None)[0]) == 1


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "s.h5"
    write_shard(path, [make_sample(0)], [], STAMP)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match=r"s\.h5: cannot be written \(No space left on device\)"):
        write_shard(path, [make_sample(1)], [], STAMP)
    assert [sample.image_id for sample in read_shard(path, STAMP)[0]] == [0]
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def cache(tmp_path):
    # Shards come in the manifest's order, whichever process wrote them.
    write_shard(tmp_path / "shard-001-00000.h5", [make_sample(i, boxes=i % 3) for i in range(4)], [], STAMP, 2.0)
    late = [make_sample(4, split="val"), make_sample(5, 0, authentic=True)]
    write_shard(tmp_path / "shard-000-00001.h5", late, [SetAside(6, "six.jpg", "empty")], STAMP, 1.0)
    write_index(tmp_path, STAMP, [SetAside(7, "seven.jpg", "no box")])
    return tmp_path


def test_the_index_sums_up_the_cache(cache):
    index = read_index(cache)
    assert [(shard.name, shard.samples) for shard in index.shards] == [
        ("shard-001-00000.h5", 4),
        ("shard-000-00001.h5", 2),
    ]
    assert (index.stamp, index.samples, index.seconds, index.images_per_second) == (STAMP, 6, 3.0, 2.0)
    assert {item.file for item in index.set_aside} == {"six.jpg", "seven.jpg"}


def test_reader_serves_all_samples_in_order(cache):
    reader = ShardReader(cache)
    assert len(reader) == 6
    assert all(same(reader[i], make_sample(i, boxes=i % 3)) for i in range(4))
    assert reader.image_ids.tolist() == list(range(6))
    assert reader.sources.tolist() == [f"set {i % 3}" for i in range(6)]
    assert reader.authentic.tolist() == [False] * 5 + [True]
    with pytest.raises(IndexError):
        reader[6]


def test_reader_serves_only_the_splits_asked_for(cache):
    assert ShardReader(cache, ["val"]).image_ids.tolist() == [4]
    assert ShardReader(cache, ["val"])[0].image_id == 4
    assert len(ShardReader(cache, ["test"])) == 0


def test_a_reader_in_use_can_be_pickled(cache):
    reader = ShardReader(cache)
    assert reader[0].image_id == 0
    assert pickle.loads(pickle.dumps(reader))[5].image_id == 5


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_loader_workers_read_however_they_are_started(cache, start):
    reader = ShardReader(cache)
    assert reader[0].image_id == 0  # a handle is open before the workers exist
    loader = DataLoader(reader, batch_size=2, num_workers=2, collate_fn=list, multiprocessing_context=start)
    read = [sample for batch in loader for sample in batch]
    assert [sample.image_id for sample in read] == list(range(6))
    assert all(same(a, reader[i]) for i, a in enumerate(read))


def test_a_cache_without_its_index_is_incomplete(cache):
    (cache / "index.json").unlink()
    with pytest.raises(CacheError, match="incomplete: run the same `boxpromptiml pseudomasks` command again"):
        ShardReader(cache)


def test_a_folder_without_shards_is_no_cache(tmp_path):
    with pytest.raises(CacheError, match="no cache here"):
        ShardReader(tmp_path)


def test_reader_refuses_missing_truncated_and_foreign_shards_by_name(cache):
    path = cache / "shard-000-00001.h5"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(CacheError, match=r"shard-000-00001\.h5: the shard is damaged"):
        ShardReader(cache)
    path.unlink()
    with pytest.raises(CacheError, match=r"shard-000-00001\.h5: the shard is missing"):
        ShardReader(cache)
    write_shard(path, [], [], replace(STAMP, teacher="sam_vit_h"))
    with pytest.raises(CacheError, match=r"shard-000-00001\.h5: made with teacher sam_vit_h, not grabcut"):
        ShardReader(cache)


def test_a_bit_flipped_in_pixels_is_found_when_the_sample_is_read(cache):
    path = cache / "shard-001-00000.h5"
    content = bytearray(path.read_bytes())
    content[content.find(make_sample(2, 2).image.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    reader = ShardReader(cache)
    assert reader[1].image_id == 1
    with pytest.raises(CacheError, match=r"shard-001-00000\.h5: the shard is damaged"):
        reader[2]
