"""Atomic writing of shards. ``shard`` describes their layout."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.atomic_files import atomic_path
from boxpromptiml.core.records import Sample, SetAside, Stamp
from boxpromptiml.shards import raw_chunks
from boxpromptiml.shards.shard import AGAIN, BOX, PIXELS, CacheError

FORMAT = ("v110", "v110")
"""HDF5 file format: the oldest version with checksums in all headers."""
GZIP_LEVEL = 1


def write_shard(
    path: Path, samples: Sequence[Sample], set_aside: Sequence[SetAside], stamp: Stamp, seconds: float = 0.0
) -> None:
    """Write a shard atomically: it is complete or absent even if the process is killed or the power fails.

    Args:
        path: the HDF5 file.
        samples: any number, possibly none, all at the stamp's size.
        set_aside: skipped images of the shard's part of the manifest.
        stamp: what produced the samples.
        seconds: computing time.

    Raises:
        CacheError: the file cannot be written, for example because the disk is full.
        ValueError: a sample's size differs from the stamp.
    """
    memory = io.BytesIO()  # HDF5 reports a full disk late and with many lines
    with h5py.File(memory, "w", libver=FORMAT) as file:
        for name, value in asdict(stamp).items():
            file.attrs[name] = _fixed_length([value])[0] if isinstance(value, str) else value
        file.attrs["seconds"] = seconds
        _write_samples(file, samples, stamp.size)
        _write(file, "set_aside", np.frombuffer(msgspec.json.encode(list(set_aside)), np.uint8))
    try:
        with atomic_path(path) as partial:
            partial.write_bytes(memory.getbuffer())
        _keep_name(path)
    except OSError as error:
        raise CacheError(
            f"{path}: cannot be written ({error.strerror}); finished samples are kept: free space or choose "
            f"another folder, then {AGAIN}"
        ) from None


def _write_samples(file: h5py.File, samples: Sequence[Sample], size: int) -> None:
    n = len(samples)
    blank = np.zeros((size, size), np.uint8)
    truths = [blank if sample.truth is None else sample.truth for sample in samples]
    image = np.array([sample.image for sample in samples], np.uint8).reshape(n, size, size, 3)
    pseudo_mask = np.array([sample.pseudo_mask for sample in samples], np.uint8).reshape(n, size, size)
    truth = np.array(truths, np.uint8).reshape(n, size, size)
    for name, data in zip(PIXELS, (image, pseudo_mask, truth), strict=True):
        _write(file, name, data, chunk=1, gzip=None if name == "image" else GZIP_LEVEL)

    texts = {name: _fixed_length([getattr(s, name) for s in samples]) for name in ("split", "source", "kind")}
    sums = [raw_chunks.crc32([raw_chunks.as_stored(file[name], i) for name in PIXELS]) for i in range(n)]
    columns = {
        "image_id": np.array([sample.image_id for sample in samples], "<i8"),
        "width": np.array([sample.width for sample in samples], "<i4"),
        "height": np.array([sample.height for sample in samples], "<i4"),
        "boxes": np.array([len(sample.boxes_xyxy) for sample in samples], "<i4"),
        "confidence": np.array([sample.confidence for sample in samples], "<f4"),
        "crc32": np.array(sums, "<u4"),
        "authentic": np.array([sample.authentic for sample in samples], bool),
        "has_truth": np.array([sample.truth is not None for sample in samples], bool),
        **texts,
    }
    facts = np.empty(n, np.dtype([(name, column.dtype) for name, column in columns.items()]))
    for name, column in columns.items():
        facts[name] = column
    _write(file, "facts", facts)

    boxes = np.empty(sum(len(sample.boxes_xyxy) for sample in samples), BOX)
    boxes["xyxy"] = np.concatenate([np.zeros((0, 4), np.float32), *(sample.boxes_xyxy for sample in samples)])
    boxes["score"] = np.concatenate([np.zeros(0, np.float32), *(sample.teacher_scores for sample in samples)])
    _write(file, "boxes", boxes)


def _fixed_length(texts: Sequence[str]) -> NDArray[np.bytes_]:
    encoded = [text.encode() for text in texts]
    return np.array(encoded, h5py.string_dtype("utf-8", max(map(len, [b"-", *encoded]))))


def _write(file: h5py.File, name: str, data: NDArray[Any], chunk: int = 0, gzip: int | None = None) -> None:
    # Only a dataset with an unlimited axis can be both chunked and empty.
    shape = (chunk or max(1, len(data)), *data.shape[1:])
    file.create_dataset(
        name, data=data, chunks=shape, maxshape=(None, *data.shape[1:]), compression=gzip, fletcher32=True
    )


def _keep_name(path: Path) -> None:
    """Flush the folder to disk, without which a new file name may be lost in a power failure."""
    with suppress(OSError):  # not supported by some network drives and Windows
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
