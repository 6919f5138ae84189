"""The cache between the two stages: HDF5 shards of samples, and the index that says they are all there.

A cache is a folder of ``shard-RRR-NNNNN.h5`` (RRR: the process that wrote it, NNNNN: its place in the manifest's order)
and ``index.json``, written last. A shard holds, along axis 0 of every dataset, n samples at size S:

    image (n, S, S, 3) · pseudo_mask (n, S, S) · truth (n, S, S)   uint8, one sample per chunk
    has_truth · authentic · image_id · width · height · source · split · kind   (n,)
    boxes (total, 4) · teacher_scores (total,) · box_offsets (n + 1,)   the boxes of sample i are offsets i to i + 1

and set_aside, the images that could not be used, as JSON. Its attributes are the fields of the Stamp and the seconds
spent. Every dataset carries a Fletcher checksum and the file format checksums its own headers, so that damage is found
and not trained on.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.provenance import write_json
from boxpromptiml.records import InputError, Sample, SetAside, Split, Stamp

SCHEMA = 1
"""Version of the layout above."""
FORMAT = ("v110", "v110")
"""HDF5 file format: the first whose headers all carry checksums."""
PIXELS = ("image", "pseudo_mask", "truth")
MAX_OPEN_FILES = 128
"""Shards that one process keeps open; common systems allow 1,024 files a process."""
AGAIN = "run the same `boxpromptiml pseudomasks` command again to finish it"


class CacheError(InputError):
    """A cache that cannot be used or written. Its text is one line that names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """Everything in a shard but its pixels and boxes.

    Attributes:
        name: file name.
        image_ids: (n,) int64.
        splits: (n,) str.
        sources: (n,) str.
        authentic: (n,) bool.
        set_aside: images of this shard's slice of the manifest that could not be used.
        seconds: spent on computing the shard, by one process.
    """

    name: str
    image_ids: NDArray[np.int64]
    splits: NDArray[np.str_]
    sources: NDArray[np.str_]
    authentic: NDArray[np.bool_]
    set_aside: list[SetAside]
    seconds: float


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard as the index lists it."""

    name: str
    samples: int


@dataclass(frozen=True, slots=True)
class CacheIndex:
    """What ``index.json`` says about a complete cache.

    Attributes:
        stamp: what produced every shard.
        shards: in the manifest's order.
        samples: in all shards together.
        set_aside: every image that could not be used.
        seconds: of computing, summed over processes and over interrupted runs.
        images_per_second: samples divided by seconds, so the speed of one process.
    """

    stamp: Stamp
    shards: list[ShardEntry]
    samples: int
    set_aside: list[SetAside]
    seconds: float
    images_per_second: float


def write_shard(
    path: Path, samples: Sequence[Sample], set_aside: Sequence[SetAside], stamp: Stamp, seconds: float = 0.0
) -> None:
    """Write a shard that appears whole or not at all, even when the process is killed or the power fails.

    Args:
        path: the HDF5 file.
        samples: any number, none included, all at the stamp's size.
        set_aside: images that belong here and could not be used.
        stamp: what produced the samples.
        seconds: spent on computing them.

    Raises:
        CacheError: the file cannot be written, for example because the disk is full.
        ValueError: a sample has another size than the stamp.
    """
    memory = io.BytesIO()  # HDF5 itself reports a full disk late and in many lines
    with h5py.File(memory, "w", libver=FORMAT) as file:
        for name, value in asdict(stamp).items():
            # Strings of any length would go to the one part of the format that has no checksum.
            file.attrs[name] = _fixed_length([value])[0] if isinstance(value, str) else value
        file.attrs["seconds"] = seconds
        _write(file, "set_aside", np.frombuffer(msgspec.json.encode(list(set_aside)), np.uint8))
        _write_datasets(file, samples, stamp.size)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.write(memory.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CacheError(
            f"{path}: cannot be written ({error.strerror}); what was finished before is kept: make room or choose "
            f"another folder, then {AGAIN}"
        ) from None


def read_shard(path: Path, stamp: Stamp | None) -> tuple[list[Sample], list[SetAside]]:
    """Read a whole shard and verify its checksums.

    Args:
        path: the HDF5 file.
        stamp: what the shard must have been produced by, or None to accept any.

    Raises:
        CacheError: the shard is damaged or cut off, or its stamp differs (the message says in which field).
    """
    with _opened(path, stamp) as file:
        rows = _Rows(file)
        return [rows[row] for row in range(len(rows))], _set_aside(file)


def summarize(path: Path, stamp: Stamp | None) -> ShardSummary:
    """Read a shard without its pixels.

    Raises:
        CacheError: as ``read_shard``.
    """
    with _opened(path, stamp) as file:
        return ShardSummary(
            name=path.name,
            image_ids=file["image_id"][:],
            splits=file["split"].asstr()[:].astype(str),
            sources=file["source"].asstr()[:].astype(str),
            authentic=file["authentic"][:],
            set_aside=_set_aside(file),
            seconds=float(file.attrs["seconds"]),
        )


def shard_paths(cache: Path) -> dict[int, Path]:
    """The shards of a folder by their place NNNNN in the manifest's order, whichever process wrote them."""
    places = {int(path.stem.rsplit("-", 1)[1]): path for path in sorted(cache.glob("shard-*-*.h5"))}
    return dict(sorted(places.items()))


def write_index(cache: Path, stamp: Stamp, set_aside: Sequence[SetAside] = ()) -> CacheIndex:
    """Write ``index.json`` over all shards of a folder, which declares the cache complete.

    Args:
        cache: the folder.
        stamp: what every shard must have been produced by.
        set_aside: images that were refused before they reached a shard.

    Raises:
        CacheError: a shard is damaged or has another stamp, or the index cannot be written.
    """
    summaries = [summarize(path, stamp) for path in shard_paths(cache).values()]
    samples = sum(len(summary.image_ids) for summary in summaries)
    seconds = sum(summary.seconds for summary in summaries)
    index = CacheIndex(
        stamp=stamp,
        shards=[ShardEntry(summary.name, len(summary.image_ids)) for summary in summaries],
        samples=samples,
        set_aside=[*set_aside, *(item for summary in summaries for item in summary.set_aside)],
        seconds=round(seconds, 3),
        images_per_second=round(samples / seconds, 3) if seconds else 0.0,
    )
    try:
        write_json(cache / "index.json", msgspec.to_builtins(index))
    except OSError as error:
        raise CacheError(f"{cache}/index.json: cannot be written ({error.strerror}); make room, then {AGAIN}") from None
    return index


def read_index(cache: Path) -> CacheIndex:
    """Read the index of a complete cache.

    Raises:
        CacheError: there is no cache, it is incomplete, or the index is not one of this schema.
    """
    path = cache / "index.json"
    try:
        index = msgspec.json.decode(path.read_bytes(), type=CacheIndex)
    except FileNotFoundError:
        if not any(cache.glob("*.h5")):
            raise CacheError(f"{cache}: no cache here; make one with `boxpromptiml pseudomasks`") from None
        raise CacheError(f"{cache}: the cache is incomplete: {AGAIN}") from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CacheError(f"{path}: not an index ({error}); delete it and {AGAIN}") from None
    if index.stamp.schema != SCHEMA:
        raise CacheError(f"{path}: schema {index.stamp.schema}, but this version reads {SCHEMA}; make the cache again")
    return index


class ShardReader:
    """Random access to the samples of a complete cache, from any number of processes.

    HDF5 files are opened when a sample of theirs is first asked for, once in each process. Pickling drops them, because
    a handle is of no use in another process; so a reader can be sent to loader workers however they are started.

    Args:
        cache: folder with shards and ``index.json``.
        splits: which splits to serve; None for all.

    Attributes:
        index: of the cache.
        image_ids: (n,) int64, in the order of the samples.
        splits: (n,) str.
        sources: (n,) str.
        authentic: (n,) bool.

    Raises:
        CacheError: the cache is incomplete, or a shard is missing, cut off, or from another run.
    """

    def __init__(self, cache: Path, splits: Collection[Split] | None = None) -> None:
        self.cache = cache
        self.index = read_index(cache)
        summaries = [summarize(cache / entry.name, self.index.stamp) for entry in self.index.shards]
        for entry, summary in zip(self.index.shards, summaries, strict=True):
            if entry.samples != len(summary.image_ids):
                raise CacheError(
                    f"{cache / entry.name}: {len(summary.image_ids)} samples where the index says {entry.samples}; "
                    f"delete both files and {AGAIN}"
                )
        all_splits = _joined([s.splits for s in summaries], str)
        keep = np.ones(len(all_splits), bool) if splits is None else np.isin(all_splits, list(splits))
        shard_of = _joined([np.full(len(s.image_ids), place) for place, s in enumerate(summaries)], np.int64)
        row_of = _joined([np.arange(len(s.image_ids)) for s in summaries], np.int64)
        self._shard_of, self._row_of = shard_of[keep], row_of[keep]
        self.splits: NDArray[np.str_] = all_splits[keep]
        self.image_ids: NDArray[np.int64] = _joined([s.image_ids for s in summaries], np.int64)[keep]
        self.sources: NDArray[np.str_] = _joined([s.sources for s in summaries], str)[keep]
        self.authentic: NDArray[np.bool_] = _joined([s.authentic for s in summaries], bool)[keep]
        self._open: dict[str, _Rows] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, i: int) -> Sample:
        name = self.index.shards[self._shard_of[i]].name
        with _damage_reported(self.cache / name):
            return self._rows(name)[int(self._row_of[i])]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def _rows(self, name: str) -> _Rows:
        if self._process != os.getpid():  # a forked worker inherits handles that it must not share
            self._open, self._process = {}, os.getpid()
        if name not in self._open:
            if len(self._open) >= MAX_OPEN_FILES:
                self._open.pop(next(iter(self._open))).file.close()
            self._open[name] = _Rows(h5py.File(self.cache / name, "r", locking=False))  # network drives refuse locks
        return self._open[name]


def _write_datasets(file: h5py.File, samples: Sequence[Sample], size: int) -> None:
    n = len(samples)
    blank = np.zeros((size, size), np.uint8)
    truths = [blank if sample.truth is None else sample.truth for sample in samples]
    pixels = {
        "image": np.array([sample.image for sample in samples], np.uint8).reshape(n, size, size, 3),
        "pseudo_mask": np.array([sample.pseudo_mask for sample in samples], np.uint8).reshape(n, size, size),
        "truth": np.array(truths, np.uint8).reshape(n, size, size),
    }
    for name, data in pixels.items():
        _write(file, name, data, chunk=1)

    boxes = [sample.boxes_xyxy for sample in samples]
    _write(file, "boxes", np.concatenate([np.zeros((0, 4), np.float32), *boxes]))
    _write(file, "box_offsets", np.cumsum([0, *map(len, boxes)], dtype=np.int64))
    scores = [sample.teacher_scores for sample in samples]
    _write(file, "teacher_scores", np.concatenate([np.zeros(0, np.float32), *scores]))

    _write(file, "has_truth", np.array([sample.truth is not None for sample in samples], bool))
    _write(file, "authentic", np.array([sample.authentic for sample in samples], bool))
    for name in ("image_id", "width", "height"):
        _write(file, name, np.array([getattr(sample, name) for sample in samples], np.int64))
    for name in ("source", "split", "kind"):
        _write(file, name, _fixed_length([getattr(sample, name) for sample in samples]))


def _fixed_length(texts: Sequence[str]) -> NDArray[np.bytes_]:
    encoded = [text.encode() for text in texts]
    return np.array(encoded, h5py.string_dtype("utf-8", max(map(len, [b"-", *encoded]))))


def _write(file: h5py.File, name: str, data: NDArray[Any], chunk: int = 0) -> None:
    # An axis without a limit is what lets a chunked dataset be empty.
    shape = (chunk or max(1, len(data)), *data.shape[1:])
    file.create_dataset(name, data=data, chunks=shape, maxshape=(None, *data.shape[1:]), fletcher32=True)


class _Rows:
    """The samples of one open file: pixels are read on demand, everything else is small and read at once."""

    def __init__(self, file: h5py.File) -> None:
        self.file = file
        self._pixels = {name: file[name] for name in PIXELS}
        self._columns = {name: file[name][:] for name in file if name not in PIXELS}

    def __len__(self) -> int:
        return len(self._columns["image_id"])

    def __getitem__(self, row: int) -> Sample:
        columns = self._columns
        first, last = columns["box_offsets"][row : row + 2]
        return Sample(
            image_id=int(columns["image_id"][row]),
            image=self._pixels["image"][row],
            pseudo_mask=self._pixels["pseudo_mask"][row],
            truth=self._pixels["truth"][row] if columns["has_truth"][row] else None,
            boxes_xyxy=columns["boxes"][first:last].copy(),
            teacher_scores=columns["teacher_scores"][first:last].copy(),
            source=columns["source"][row].decode(),
            split=columns["split"][row].decode(),
            authentic=bool(columns["authentic"][row]),
            kind=columns["kind"][row].decode(),
            width=int(columns["width"][row]),
            height=int(columns["height"][row]),
        )


def _set_aside(file: h5py.File) -> list[SetAside]:
    return msgspec.json.decode(file["set_aside"][:].tobytes(), type=list[SetAside])


@contextmanager
def _opened(path: Path, stamp: Stamp | None) -> Iterator[h5py.File]:
    with _damage_reported(path), h5py.File(path, "r", locking=False) as file:
        attributes = {field.name: file.attrs[field.name] for field in fields(Stamp)}
        found = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
        if stamp is not None:
            for name, wanted in asdict(stamp).items():
                if found[name] != wanted:
                    raise CacheError(
                        f"{path}: made with {name} {found[name]}, not {wanted}; keep each run in a folder of its own, "
                        "or delete the folder to start over"
                    )
        yield file


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except CacheError:
        raise
    except FileNotFoundError:
        raise CacheError(f"{path}: the shard is missing; delete index.json and {AGAIN}") from None
    except (OSError, KeyError, RuntimeError, ValueError, msgspec.MsgspecError) as error:  # h5py raises all of these
        raise CacheError(
            f"{path}: the shard is damaged or cut off ({error}); delete it and index.json, then {AGAIN}"
        ) from None


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts])
