"""Shards are written atomically, with the checksums that readers need."""

import errno
import os
import zlib

import h5py
import numpy as np
import pytest

from boxpromptiml.core.records import SetAside
from boxpromptiml.shards import CacheError, open_shard, read_shard, write_shard
from boxpromptiml.shards.shard import PIXELS


def test_the_table_has_the_confidence_and_a_checksum_of_the_stored_chunks(tmp_path, stamp, make_sample):
    written = [make_sample(i, boxes=i) for i in range(3)]
    write_shard(tmp_path / "s.h5", written, [], stamp)
    shard = open_shard(tmp_path / "s.h5", stamp)
    assert np.allclose(shard.facts["confidence"], [sample.confidence for sample in written])
    with h5py.File(tmp_path / "s.h5") as file:
        for row in range(3):
            chunks = [file[name].id.read_direct_chunk((row, *[0] * (file[name].ndim - 1)))[1] for name in PIXELS]
            assert shard.facts["crc32"][row] == zlib.crc32(b"".join(chunk[:-4] for chunk in chunks))


def test_many_images_can_be_set_aside(tmp_path, stamp):
    # HDF5 keeps small attributes in a header of at most 64 KiB.
    set_aside = [SetAside(i, "photo.jpg" * 20, "unreadable" * 10) for i in range(1000)]
    write_shard(tmp_path / "s.h5", [], set_aside, stamp)
    assert read_shard(tmp_path / "s.h5", stamp)[1] == set_aside


def test_a_full_disk_leaves_the_old_file(tmp_path, stamp, make_sample, monkeypatch):
    path = tmp_path / "s.h5"
    write_shard(path, [make_sample(0)], [], stamp)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match=r"s\.h5: cannot be written \(No space left on device\)"):
        write_shard(path, [make_sample(1)], [], stamp)
    assert [sample.image_id for sample in read_shard(path, stamp)[0]] == [0]
    assert list(tmp_path.iterdir()) == [path]
