"""The pixels of a shard, read from the file past HDF5.

That takes half the time that h5py takes, and makes a closed file as good as an open one, so that loader workers hold no
handles; `benchmarks/cache.py` measures it. HDF5 says once where its chunks lie. Its own checksums are not looked at by
this way; the checksum that each sample has in the shard's table stands in for them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

FLETCHER_BYTES = 4
"""HDF5 appends its checksum to a stored chunk."""


def places(dataset: h5py.Dataset, n: int, size: int) -> NDArray[np.int64]:
    """Where the chunks of a dataset lie: (n, 3) of offset, bytes, and HDF5's mask of filters that were left out.

    Args:
        dataset: of n images, one in each chunk.
        n: how many samples the shard has.
        size: side of the images in pixels.

    Raises:
        ValueError: the dataset is of another shape, or lacks a sample.
    """
    found = np.zeros((n, 3), np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        found[chunk.chunk_offset[0]] = chunk.byte_offset, chunk.size, chunk.filter_mask

    if dataset.shape[:3] != (n, size, size) or dataset.chunks != (1, *dataset.shape[1:]) or dataset.dtype != np.uint8:
        raise ValueError(f"{dataset.name} is not of {size} × {size} pixels, one chunk for each sample")
    dataset.id.chunk_iter(note)
    if not found[:, 1].all():
        raise ValueError(f"{dataset.name} lacks a sample")
    return found


def read(file: BinaryIO, offset: int, count: int) -> NDArray[np.uint8]:
    """The bytes of a stored chunk without HDF5's checksum; those of a file that was cut off are of any value.

    Args:
        file: the shard, open for reading; its position is moved.
        offset: where the chunk begins.
        count: how many bytes it has, HDF5's checksum included.
    """
    stored = np.empty(count - FLETCHER_BYTES, np.uint8)
    file.seek(offset)
    file.readinto(stored)  # type: ignore[attr-defined]  # every binary file has it
    return stored  # whose checksum tells when the file was cut off


def inflated(stored: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """A gzipped chunk as the ``count`` bytes that it holds."""
    return np.frombuffer(bytearray(zlib.decompress(stored.data, bufsize=count)), np.uint8)


def as_stored(dataset: h5py.Dataset, row: int) -> NDArray[np.uint8]:
    """The bytes of a chunk as `read` will find them, from an open file."""
    _, stored = dataset.id.read_direct_chunk((row, *[0] * (dataset.ndim - 1)))
    return np.frombuffer(stored, np.uint8)[:-FLETCHER_BYTES]


def crc32(pieces: Sequence[NDArray[np.uint8]]) -> int:
    """Checksum of chunks, one after the other."""
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece.data, crc)
    return crc
