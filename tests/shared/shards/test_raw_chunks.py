"""Chunks read directly from the file equal those read through HDF5."""

import h5py
import numpy as np
import pytest

from boxpromptiml.shards import raw_chunks

SIZE = 8


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """HDF5 file with five noise images, stored uncompressed, and five constant masks, compressed."""
    path = tmp_path_factory.mktemp("chunks") / "five.h5"
    noise = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        options = {"chunks": (1, SIZE, SIZE), "fletcher32": True}
        file.create_dataset("noise", data=noise, **options)
        file.create_dataset("flat", data=np.full((5, SIZE, SIZE), 7, np.uint8), compression=1, **options)
    return path


def test_every_chunk_is_found_and_read_as_hdf5_stored_it(file):
    with h5py.File(file) as opened, file.open("rb") as stream:
        for name in ("noise", "flat"):
            for row, (offset, count, _) in enumerate(raw_chunks.places(opened[name], 5, SIZE).tolist()):
                stored = raw_chunks.read(stream, offset, count)
                np.testing.assert_array_equal(stored, raw_chunks.as_stored(opened[name], row))
                whole = stored if name == "noise" else raw_chunks.inflated(stored, SIZE**2)
                np.testing.assert_array_equal(whole.reshape(SIZE, SIZE), opened[name][row])


@pytest.mark.parametrize(("n", "size", "output"), [(4, SIZE, "not of 8 × 8"), (5, 9, "not of 9 × 9")])
def test_a_dataset_of_another_shape_is_refused(file, n, size, output):
    with h5py.File(file) as opened, pytest.raises(ValueError, match=output):
        raw_chunks.places(opened["noise"], n, size)


def test_a_dataset_that_lacks_a_sample_is_refused(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        lacking = file.create_dataset("lacking", (2, SIZE, SIZE), np.uint8, chunks=(1, SIZE, SIZE))
        lacking[0] = 1
        with pytest.raises(ValueError, match="lacks a sample"):
            raw_chunks.places(lacking, 2, SIZE)


def test_the_checksum_of_chunks_equals_that_of_their_concatenation():
    pieces = [np.arange(7, dtype=np.uint8), np.arange(3, dtype=np.uint8)]
    assert raw_chunks.crc32(pieces) == raw_chunks.crc32([np.concatenate(pieces)])
