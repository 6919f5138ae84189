import errno
import os

import pytest

from boxpromptiml.shards import CacheError, ShardReader, read_index, shard_paths
from boxpromptiml.shards.maintenance.derive import derive, read_settings


def only_even(sample):
    return sample.image_id % 2 == 0


def test_the_new_cache_has_the_selected_samples_of_the_old(cache, tmp_path, stamp, make_sample, same):
    old = read_index(cache)
    derive(tmp_path / "new", list(shard_paths(cache).values()), only_even, stamp, old.set_aside, {"why": "even"})
    reader = ShardReader(tmp_path / "new")
    assert reader.image_ids.tolist() == [0, 2, 4]
    assert same(reader[1], make_sample(2, boxes=2))
    assert sorted(reader.index.set_aside, key=str) == sorted(old.set_aside, key=str)  # each once
    assert reader.index.seconds == old.seconds
    assert read_settings(tmp_path / "new") == {"why": "even"}


def test_nothing_is_written_when_a_shard_is_damaged_or_the_disk_is_full(cache, tmp_path, stamp, flip, monkeypatch):
    shards = list(shard_paths(cache).values())
    with monkeypatch.context() as patch:

        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "fsync", full)
        with pytest.raises(CacheError, match="No space left on device"):
            derive(tmp_path / "new", shards, only_even, stamp, [], {})
    assert list(tmp_path.iterdir()) == [cache]
    flip(shards[0], 2, boxes=2)
    with pytest.raises(CacheError, match="image 2 is damaged"):
        derive(tmp_path / "new", shards, only_even, stamp, [], {})
    assert list(tmp_path.iterdir()) == [cache]


def test_a_folder_with_content_is_left_unchanged(cache, tmp_path, stamp):
    (tmp_path / "new").mkdir()
    (tmp_path / "new/holiday.jpg").touch()
    for out in (tmp_path / "new", cache):
        before = sorted(out.iterdir())
        with pytest.raises(CacheError, match="already exists"):
            derive(out, list(shard_paths(cache).values()), only_even, stamp, [], {})
        assert sorted(out.iterdir()) == before


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"\xff"])
def test_unreadable_settings_are_named(cache, content):
    (cache / "settings.json").unlink()
    if content is not None:
        (cache / "settings.json").write_bytes(content)
    with pytest.raises(CacheError, match=r"settings\.json: cannot be read .* run the same"):
        read_settings(cache)
