import os
import pickle
from dataclasses import replace

import pytest
from torch.utils.data import DataLoader

from boxpromptiml.shards import CacheError, ShardReader, reader, write_shard


def test_the_reader_returns_all_samples_in_order(cache, make_sample, same):
    reader = ShardReader(cache)
    assert len(reader) == 6
    assert all(same(reader[i], make_sample(i, boxes=i % 3)) for i in range(4))
    assert reader.image_ids.tolist() == list(range(6))
    assert reader.sources.tolist() == [f"set {i % 3}" for i in range(6)]
    assert reader.kinds.tolist() == ["splice"] * 6
    assert reader.authentic.tolist() == [False] * 5 + [True]
    assert reader.confidence.tolist() == pytest.approx([reader[i].confidence for i in range(6)])
    with pytest.raises(IndexError):
        reader[6]


def test_the_reader_returns_only_the_requested_splits(cache):
    assert ShardReader(cache, ["val"]).image_ids.tolist() == [4]
    assert ShardReader(cache, ["val"])[0].image_id == 4
    assert len(ShardReader(cache, ["test"])) == 0


def test_a_reader_in_use_can_be_pickled(cache):
    reader = ShardReader(cache)
    assert reader[0].image_id == 0
    assert pickle.loads(pickle.dumps(reader))[5].image_id == 5


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_loader_workers_can_read_with_every_start_method(cache, same, start):
    reader = ShardReader(cache)
    assert reader[0].image_id == 0  # opens a handle before the workers start
    loader = DataLoader(reader, batch_size=2, num_workers=2, collate_fn=list, multiprocessing_context=start)
    read = [sample for batch in loader for sample in batch]
    assert [sample.image_id for sample in read] == list(range(6))
    assert all(same(a, reader[i]) for i, a in enumerate(read))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux lists them")  # noqa: PTH112
def test_a_cache_of_many_shards_does_not_use_up_open_files(cache, monkeypatch):
    monkeypatch.setattr(reader, "MAX_OPEN_FILES", 1)
    served = ShardReader(cache)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert [served[i].image_id for i in (0, 4, 1, 5, 2)] == [0, 4, 1, 5, 2]
    assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208


def test_missing_truncated_and_foreign_shards_are_refused_by_name(cache, stamp):
    path = cache / "shard-000-00001.h5"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(CacheError, match=r"shard-000-00001\.h5: the shard is damaged"):
        ShardReader(cache)
    path.unlink()
    with pytest.raises(CacheError, match=r"shard-000-00001\.h5: the shard is missing"):
        ShardReader(cache)
    write_shard(path, [], [], stamp)
    with pytest.raises(CacheError, match=r"shard-000-00001\.h5: 0 samples, but the index lists 2"):
        ShardReader(cache)
    write_shard(path, [], [], replace(stamp, teacher="sam_vit_h"))
    with pytest.raises(CacheError, match=r"shard-000-00001\.h5: made with teacher sam_vit_h, not grabcut"):
        ShardReader(cache)


def test_a_bit_flipped_in_pixels_is_found_when_the_sample_is_read(cache, flip):
    flip(cache / "shard-001-00000.h5", 2, boxes=2)
    reader = ShardReader(cache)
    assert reader[1].image_id == 1
    with pytest.raises(CacheError, match=r"shard-001-00000\.h5: image 2 is damaged"):
        reader[2]
