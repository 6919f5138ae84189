"""Reading the pixels of a shard directly from the file, bypassing HDF5.

This takes half the time of h5py and does not need an open file handle, so loader workers hold none;
`benchmarks/cache.py` measures it. The chunk offsets are obtained from HDF5 once. HDF5's own checksums are not verified
this way; the checksum of each sample in the shard's table replaces them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

FLETCHER_BYTES = 4
"""Size of the checksum that HDF5 appends to a stored chunk."""


def places(dataset: h5py.Dataset, n: int, size: int) -> NDArray[np.int64]:
    """Return the locations of a dataset's chunks, (n, 3): offset, size in bytes, and HDF5's mask of skipped filters.

    Args:
        dataset: n images with one image per chunk.
        n: number of samples in the shard.
        size: side of the images in pixels.

    Raises:
        ValueError: the dataset has a different shape, or lacks a sample.
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
    """Read the bytes of a stored chunk without HDF5's checksum; if the file is truncated, their values are arbitrary.

    Args:
        file: the shard, open for reading; its position changes.
        offset: position of the chunk in the file, in bytes.
        count: number of bytes, including HDF5's checksum.
    """
    stored = np.empty(count - FLETCHER_BYTES, np.uint8)
    file.seek(offset)
    file.readinto(stored)  # type: ignore[attr-defined]  # exists on all binary files
    return stored  # the caller's checksum detects truncation


def inflated(stored: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Decompress a gzipped chunk of ``count`` bytes."""
    return np.frombuffer(bytearray(zlib.decompress(stored.data, bufsize=count)), np.uint8)


def as_stored(dataset: h5py.Dataset, row: int) -> NDArray[np.uint8]:
    """Return the stored bytes of a chunk of an open file, as `read` will return them."""
    _, stored = dataset.id.read_direct_chunk((row, *[0] * (dataset.ndim - 1)))
    return np.frombuffer(stored, np.uint8)[:-FLETCHER_BYTES]


def crc32(pieces: Sequence[NDArray[np.uint8]]) -> int:
    """Compute the CRC-32 of the concatenated chunks."""
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece.data, crc)
    return crc
