import pytest

from boxpromptiml.runtime.provenance import write_json
from boxpromptiml.shards import CacheError, place_of, read_index, shard_paths, write_index


def test_the_index_summarizes_the_cache(cache, stamp):
    index = read_index(cache)
    assert [(shard.name, shard.samples) for shard in index.shards] == [
        ("shard-001-00000.h5", 4),
        ("shard-000-00001.h5", 2),
    ]
    assert (index.stamp, index.samples, index.seconds, index.images_per_second) == (stamp, 6, 3.0, 2.0)
    assert {item.file for item in index.set_aside} == {"six.jpg", "seven.jpg"}


def test_shards_are_in_the_manifests_order_whoever_wrote_them(cache):
    assert [path.name for path in shard_paths(cache).values()] == ["shard-001-00000.h5", "shard-000-00001.h5"]
    assert [place_of(path) for path in shard_paths(cache).values()] == [0, 1]


def test_no_index_is_written_for_a_damaged_shard(cache, stamp):
    (cache / "index.json").unlink()
    path = cache / "shard-000-00001.h5"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CacheError, match=r"shard-000-00001\.h5: the shard is damaged"):
        write_index(cache, stamp)
    assert not (cache / "index.json").exists()


def test_a_cache_without_its_index_is_incomplete(cache):
    (cache / "index.json").unlink()
    with pytest.raises(CacheError, match="incomplete: run the same `boxpromptiml pseudomasks` command again"):
        read_index(cache)


def test_a_folder_without_shards_is_not_a_cache(tmp_path):
    with pytest.raises(CacheError, match="no cache in this folder"):
        read_index(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_index_is_named_with_a_remedy(cache, content):
    (cache / "index.json").write_bytes(content)
    with pytest.raises(CacheError, match=r"index\.json: not a valid index .* delete it and run the same"):
        read_index(cache)


def test_a_cache_of_another_schema_says_to_make_it_again(cache):
    index = (cache / "index.json").read_text()
    (cache / "index.json").write_text(index.replace('"schema": 2', '"schema": 1'))
    with pytest.raises(CacheError, match="schema 1, but this version reads 2"):
        read_index(cache)
    write_json(cache / "index.json", {})
    with pytest.raises(CacheError, match="not a valid index"):
        read_index(cache)


def test_a_copied_shard_is_named_with_a_remedy(cache):
    (cache / "shard-000-00001 (1).h5").write_bytes(b"")
    with pytest.raises(CacheError, match=r"shard-000-00001 \(1\)\.h5: not the name of a shard .* move it elsewhere"):
        shard_paths(cache)
