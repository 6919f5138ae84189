from dataclasses import replace

import pytest

from boxpromptiml.shards import CacheError, open_shard, read_shard, write_shard
from boxpromptiml.shards.maintenance.examine import examine, take_apart


@pytest.fixture
def shard(cache):
    return cache / "shard-001-00000.h5"


def test_a_freshly_written_shard_has_no_findings(shard, stamp):
    found = examine(shard)
    assert (found.problems, found.damaged) == ([], False)
    assert found.image_ids.tolist() == [0, 1, 2, 3]


def test_damage_is_named_by_shard_and_image(shard, stamp, flip):
    flip(shard, 2, boxes=2)
    found = examine(shard)
    assert [(p.file, p.image_id, p.what) for p in found.problems] == [(shard.name, 2, "damaged, its checksum differs")]
    assert found.damaged


def test_damage_to_the_checksums_of_hdf5_is_found_too(shard, stamp):
    content = bytearray(shard.read_bytes())
    offset, count, _ = open_shard(shard, stamp).stored["image"][3].tolist()
    content[offset + count - 1] ^= 1  # in the checksum that HDF5 appended to the chunk
    shard.write_bytes(content)
    assert len(read_shard(shard, stamp)[0]) == 4
    assert [(p.image_id, p.what) for p in examine(shard).problems] == [(3, "damaged, HDF5's checksum differs")]


def test_a_shard_of_another_schema_is_not_damaged(shard, stamp):
    write_shard(shard, [], [], replace(stamp, schema=1))
    found = examine(shard)
    assert "made with schema 1, not 2" in found.problems[0].what
    assert not found.damaged


def test_intact_samples_become_a_part(shard, stamp, flip):
    flip(shard, 2, boxes=2)
    take_apart(shard)
    assert not shard.exists()
    samples, _ = read_shard(shard.with_name("part-00000-kept.h5"), stamp)
    assert [sample.image_id for sample in samples] == [0, 1, 3]


def test_nothing_is_salvaged_from_a_shard_that_cannot_be_opened(shard, stamp):
    shard.write_bytes(b"")
    take_apart(shard)
    assert not list(shard.parent.glob("*00000*"))
    write_shard(shard, [], [], stamp)
    with pytest.raises(CacheError, match="is missing"):
        take_apart(shard.with_name("shard-000-00009.h5"))
