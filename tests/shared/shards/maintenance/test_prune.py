import pytest

from boxpromptiml.shards import CacheError, ShardReader
from boxpromptiml.shards.maintenance import prune
from boxpromptiml.shards.maintenance.derive import read_settings


def test_listed_samples_are_removed_and_the_rest_is_unchanged(cache, tmp_path, make_sample, same):
    (tmp_path / "bad.txt").write_text("1\n5\n", encoding="utf-8-sig")
    assert prune(cache, tmp_path / "pruned", ids=[3], ids_file=tmp_path / "bad.txt") == 0
    reader = ShardReader(tmp_path / "pruned")
    assert reader.image_ids.tolist() == [0, 2, 4]
    assert same(reader[1], make_sample(2, boxes=2))
    assert len(ShardReader(cache)) == 6
    assert reader.index.stamp.config_hash != ShardReader(cache).index.stamp.config_hash
    assert read_settings(tmp_path / "pruned")["pruned"] == {"cache": str(cache), "without": 3}


def test_samples_can_be_removed_by_source_or_low_confidence(cache, tmp_path):
    prune(cache, tmp_path / "source", sources=["set 1"])
    assert ShardReader(tmp_path / "source").image_ids.tolist() == [0, 2, 3, 5]
    confidence = ShardReader(cache).confidence
    middle = float(sorted(confidence)[3])
    prune(cache, tmp_path / "sure", below=middle)
    assert ShardReader(tmp_path / "sure").image_ids.tolist() == [i for i in range(6) if confidence[i] >= middle]


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ({"ids": [77]}, "has no image 77"),
        ({"sources": ["casia"]}, "has no source casia"),
        ({}, "no sample would be removed"),
        ({"ids": [0, 1, 2, 3, 4, 5]}, "every sample would be removed"),
    ],
)
def test_mistaken_selections_are_refused(cache, tmp_path, arguments, output):
    with pytest.raises(CacheError, match=output):
        prune(cache, tmp_path / "pruned", **arguments)
    assert not (tmp_path / "pruned").exists()


def test_an_unreadable_list_is_named(cache, tmp_path):
    (tmp_path / "ids").write_text("1\ntwo\n")
    with pytest.raises(CacheError, match=r"ids: cannot be read .* one image id on each line"):
        prune(cache, tmp_path / "pruned", ids_file=tmp_path / "ids")
