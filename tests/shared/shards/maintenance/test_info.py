import pytest

from boxpromptiml.shards import CacheError, ShardReader
from boxpromptiml.shards.maintenance import info


def test_the_table_counts_every_sample_once(cache, capsys):
    assert info(cache) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    confidence = ShardReader(cache).confidence
    table = {tuple(words[:-3]): words[-3:] for words in lines[1:8] if words}
    assert table["set", "0", "train", "splice"] == [
        "2",
        f"{confidence[[0, 3]].mean():.3f}",
        lowest_tenth(confidence[[0, 3]]),
    ]
    assert table["set", "2", "train", "authentic"] == ["1", "1.000", "1.000"]
    assert table["set", "1", "val", "splice"][0] == "1"
    assert table[("all",)] == ["6", f"{confidence.mean():.3f}", lowest_tenth(confidence)]


def lowest_tenth(values):
    ordered = sorted(values.tolist())
    place = 0.1 * (len(ordered) - 1)
    low, share = int(place), place - int(place)
    return f"{ordered[low] * (1 - share) + ordered[min(low + 1, len(ordered) - 1)] * share:.3f}"


def test_sizes_and_origin_are_printed(cache, stamp, capsys):
    info(cache)
    printed = capsys.readouterr().out
    stored = sum(path.stat().st_size for path in cache.glob("*.h5"))
    assert f"2 shards, {stored / 1e6:.1f} MB, {stored / 6:,.0f} bytes a sample" in printed
    assert "2 images skipped; 3 s of computing" in printed
    assert f"teacher grabcut, weights none, config {stamp.config_hash}, schema 2, boxpromptiml 0.1.0" in printed


def test_a_folder_without_a_cache_is_an_error(tmp_path):
    with pytest.raises(CacheError, match="no cache in this folder"):
        info(tmp_path)
