from dataclasses import replace

import pytest

from boxpromptiml.shards import CacheError, ShardReader
from boxpromptiml.shards.maintenance import merge
from boxpromptiml.shards.maintenance.derive import read_settings


def test_the_new_cache_has_all_samples_and_the_old_ones_stay(make_cache, tmp_path, stamp, same):
    caches = [make_cache("a"), make_cache("b", first=10, stamp=replace(stamp, config_hash="other"))]
    before = {path: path.read_bytes() for cache in caches for path in cache.iterdir()}
    assert merge(caches, tmp_path / "both") == 0
    both, *old = (ShardReader(cache) for cache in (tmp_path / "both", *caches))
    assert both.image_ids.tolist() == [*range(6), *range(10, 16)]
    assert all(same(both[i], sample) for i, sample in enumerate(s for reader in old for s in reader))
    assert {item.image_id for item in both.index.set_aside} == {6, 7, 16, 17}
    assert before == {path: path.read_bytes() for cache in caches for path in cache.iterdir()}
    assert read_settings(tmp_path / "both")["merged"] == [str(cache) for cache in caches]
    # Its content hash differs from that of each half and from that of another mixture.
    assert both.index.stamp.config_hash not in [reader.index.stamp.config_hash for reader in old]


@pytest.mark.parametrize(
    ("setting", "stamped"), [({"margin": 0.2}, {}), ({}, {"teacher": "sam_vit_b"}), ({"teacher.points": 3}, {})]
)
def test_caches_made_with_other_settings_are_refused_naming_the_setting(make_cache, tmp_path, stamp, setting, stamped):
    caches = [make_cache("a"), make_cache("b", first=10, stamp=replace(stamp, **stamped), **setting)]
    (name,) = {**setting, **stamped}
    with pytest.raises(CacheError, match=rf"b: made with {name} .*, but .*a with"):
        merge(caches, tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_an_image_in_both_caches_is_refused_with_a_remedy(make_cache, tmp_path):
    with pytest.raises(CacheError, match=r"both contain image 4 .2 shared images in all.; train on a list"):
        merge([make_cache("a"), make_cache("b", first=4)], tmp_path / "both")


def test_a_single_cache_cannot_be_merged(make_cache, tmp_path):
    with pytest.raises(CacheError, match="needs at least two"):
        merge([make_cache()], tmp_path / "out")
