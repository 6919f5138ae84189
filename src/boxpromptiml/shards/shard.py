"""One shard: an HDF5 file of n samples at size S, written and read face to face.

    image (n, S, S, 3) · pseudo_mask (n, S, S) · truth (n, S, S)   uint8, one sample per chunk, masks gzipped
    facts (n,)      table: image_id, width, height, boxes, confidence, crc32, authentic, has_truth, split, source, kind
    boxes (total,)  table: xyxy, score; in the order of the samples, each of which has as many as facts.boxes says
    set_aside       the images that belong here and could not be used, as JSON

Its attributes are the fields of the Stamp and the seconds spent. Nothing is without a checksum: HDF5 checks every
chunk (fletcher32) and, in this version of the format, its own headers; texts are of fixed length because it keeps
others where no checksum reaches. ``facts.crc32`` is that of a sample's three chunks as they are stored, one after the
other without HDF5's own checksums; for a reader who takes them from the file past HDF5.

Masks are nearly all zeros and shrink ninetyfold. Photos would shrink by a quarter and take six times as long to read;
`benchmarks/cache.py` has the numbers.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.records import InputError, Sample, SetAside, Stamp

SCHEMA = 2
"""Version of the layout above."""
FORMAT = ("v110", "v110")
"""HDF5 file format: the first whose headers all carry checksums."""
PIXELS = ("image", "pseudo_mask", "truth")
GZIP_LEVEL = 1
BOX = np.dtype([("xyxy", "<f4", 4), ("score", "<f4")])
FLETCHER_BYTES = 4
"""HDF5 appends its checksum to a stored chunk."""
AGAIN = "run the same `boxpromptiml pseudomasks` command again to finish it"
REPAIR = (
    "`boxpromptiml cache verify --repair true` on this folder keeps what is whole, then run the same "
    "`boxpromptiml pseudomasks` command again to compute the rest"
)


class CacheError(InputError):
    """A cache that cannot be used or written. Its text is one line that names the file and the remedy."""


class DamageError(CacheError):
    """A shard, or a sample in it, that is not what was written."""


class Facts(NamedTuple):
    """One row of the table ``facts``."""

    image_id: int
    width: int
    height: int
    boxes: int
    confidence: float
    crc32: int
    authentic: bool
    has_truth: bool
    split: bytes
    source: bytes
    kind: bytes


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard without its pixels, and where in the file those lie.

    Pixels are read from the file past HDF5, which takes half the time and makes a closed file as good as an open one;
    the checksum of the sample stands in for HDF5's.

    Attributes:
        path: the HDF5 file.
        stamp: what produced it.
        facts: (n,) table, one row for each sample; see `Facts`.
        boxes: (total,) table with xyxy and score.
        first_box: (n + 1,) int64, the boxes of sample i are first_box[i] to first_box[i + 1].
        stored: name → (n, 3) int64: where the bytes of the sample's pixels begin, how many they are, and HDF5's mask of
            filters that were left out because they gained nothing.
        set_aside: images of this shard's slice of the manifest that could not be used.
        seconds: spent on computing the shard, by one process.
    """

    path: Path
    stamp: Stamp
    facts: NDArray[Any]
    boxes: NDArray[Any]
    first_box: NDArray[np.int64]
    stored: dict[str, NDArray[np.int64]]
    set_aside: list[SetAside]
    seconds: float

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def image_ids(self) -> NDArray[np.int64]:
        """(n,) COCO image ids."""
        return self.facts["image_id"]

    def texts(self, name: str) -> NDArray[np.str_]:
        """(n,) str: the column ``split``, ``source`` or ``kind``."""
        return np.char.decode(self.facts[name], "utf-8")

    def sample(self, row: int, file: BinaryIO) -> Sample:
        """Read and check one sample.

        Args:
            row: its place in the shard.
            file: the shard, open for reading; its position is moved.

        Raises:
            DamageError: the sample is damaged.
        """
        facts = Facts(*self.facts[row].item())
        stored = [self._read(name, row, file) for name in PIXELS]
        if _crc32(stored) != facts.crc32:
            raise DamageError(f"{self.path}: image {facts.image_id} is damaged (its checksum differs); {REPAIR}")
        boxes = self.boxes[self.first_box[row] : self.first_box[row + 1]]
        return Sample(
            image_id=facts.image_id,
            image=stored[0].reshape(self.stamp.size, -1, 3),
            pseudo_mask=self._inflated("pseudo_mask", row, stored[1]),
            truth=self._inflated("truth", row, stored[2]) if facts.has_truth else None,
            boxes_xyxy=boxes["xyxy"].copy(),
            teacher_scores=boxes["score"].copy(),
            source=facts.source.decode(),
            split=facts.split.decode(),  # type: ignore[arg-type]  # nothing else was written
            authentic=facts.authentic,
            kind=facts.kind.decode(),
            width=facts.width,
            height=facts.height,
        )

    def _read(self, name: str, row: int, file: BinaryIO) -> NDArray[np.uint8]:
        offset, count, _ = self.stored[name][row].tolist()
        stored = np.empty(count - FLETCHER_BYTES, np.uint8)
        file.seek(offset)
        file.readinto(stored)  # type: ignore[attr-defined]  # every binary file has it
        return stored  # whose checksum tells when the file was cut off

    def _inflated(self, name: str, row: int, stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = self.stamp.size
        if not self.stored[name][row, 2] & 1:
            stored = np.frombuffer(bytearray(zlib.decompress(stored.data, bufsize=size**2)), np.uint8)
        return stored.reshape(size, size)


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
            file.attrs[name] = _fixed_length([value])[0] if isinstance(value, str) else value
        file.attrs["seconds"] = seconds
        _write_samples(file, samples, stamp.size)
        _write(file, "set_aside", np.frombuffer(msgspec.json.encode(list(set_aside)), np.uint8))
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            stream.write(memory.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        _keep_name(path)
    except OSError as error:
        with suppress(OSError):  # a disk that has become read-only
            partial.unlink(missing_ok=True)
        raise CacheError(
            f"{path}: cannot be written ({error.strerror}); what was finished before is kept: make room or choose "
            f"another folder, then {AGAIN}"
        ) from None


def open_shard(path: Path, stamp: Stamp | None) -> Shard:
    """Read everything in a shard but its pixels.

    Args:
        path: the HDF5 file.
        stamp: what the shard must have been produced by, or None to accept any of this schema.

    Raises:
        DamageError: the shard is damaged or cut off.
        CacheError: it is missing, or its stamp differs (the message says in which field).
    """
    with opened(path) as file:
        found = read_stamp(file)
        _refuse_other_stamp(path, found, stamp)
        facts, boxes = file["facts"][:], file["boxes"][:]
        first_box = np.cumsum([0, *facts["boxes"]], dtype=np.int64)
        if facts.dtype.names != Facts._fields or boxes.dtype != BOX or first_box[-1] != len(boxes):
            raise ValueError("its tables do not fit together")
        return Shard(
            path=path,
            stamp=found,
            facts=facts,
            boxes=boxes,
            first_box=first_box,
            stored={name: _stored(file[name], len(facts), found.size) for name in PIXELS},
            set_aside=msgspec.json.decode(file["set_aside"][:].tobytes(), type=list[SetAside]),
            seconds=float(file.attrs["seconds"]),
        )


def read_shard(path: Path, stamp: Stamp | None) -> tuple[list[Sample], list[SetAside]]:
    """Read a whole shard and verify its checksums.

    Args:
        path: the HDF5 file.
        stamp: what the shard must have been produced by, or None to accept any of this schema.

    Raises:
        CacheError: as ``open_shard``; DamageError also when a sample is damaged.
    """
    samples, set_aside, damage = salvage(path, stamp)
    if damage:
        raise damage[0]
    return samples, set_aside


def salvage(path: Path, stamp: Stamp | None) -> tuple[list[Sample], list[SetAside], list[DamageError]]:
    """Read whatever is whole in a shard, and say what is not.

    Args:
        path: the HDF5 file.
        stamp: what the shard must have been produced by, or None to accept any of this schema.

    Returns:
        The samples that are whole, the images set aside, and one error for each damaged sample, or one for the shard
        when nothing can be read.

    Raises:
        CacheError: the shard is missing, or its stamp differs.
    """
    samples: list[Sample] = []
    damage: list[DamageError] = []
    try:
        shard = open_shard(path, stamp)
    except DamageError as error:
        return [], [], [error]
    with path.open("rb") as file:
        for row in range(len(shard)):
            try:
                samples.append(shard.sample(row, file))
            except DamageError as error:
                damage.append(error)
    return samples, shard.set_aside, damage


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A shard open for reading with h5py, whose many errors are reported as one.

    Raises:
        DamageError: the shard is damaged or cut off.
        CacheError: it is missing.
    """
    try:
        # Network drives refuse locks; and each chunk is read once, so that a cache would only grow.
        with h5py.File(path, "r", locking=False, rdcc_nbytes=0) as file:
            yield file
    except CacheError:
        raise
    except FileNotFoundError:
        raise CacheError(f"{path}: the shard is missing; {REPAIR}") from None
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, msgspec.MsgspecError) as error:  # all h5py's
        reason = " ".join(str(error).split())
        raise DamageError(f"{path}: the shard is damaged or cut off ({reason}); {REPAIR}") from None


def read_stamp(file: h5py.File) -> Stamp:
    """What an open shard says it was produced by.

    Raises:
        KeyError: it is no shard.
    """
    attributes = {field.name: file.attrs[field.name] for field in fields(Stamp)}
    return msgspec.convert(
        {name: value.decode() if isinstance(value, bytes) else value.item() for name, value in attributes.items()},
        Stamp,
    )


def _refuse_other_stamp(path: Path, found: Stamp, stamp: Stamp | None) -> None:
    wanted = {"schema": SCHEMA} if stamp is None else asdict(stamp)
    for name, value in wanted.items():
        if getattr(found, name) != value:
            raise CacheError(
                f"{path}: made with {name} {getattr(found, name)}, not {value}; keep each run in a folder of its own, "
                "or delete the folder to start over"
            )


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
    columns = {
        "image_id": np.array([sample.image_id for sample in samples], "<i8"),
        "width": np.array([sample.width for sample in samples], "<i4"),
        "height": np.array([sample.height for sample in samples], "<i4"),
        "boxes": np.array([len(sample.boxes_xyxy) for sample in samples], "<i4"),
        "confidence": np.array([sample.confidence for sample in samples], "<f4"),
        "crc32": np.array([_crc32([_chunk(file[name], i) for name in PIXELS]) for i in range(n)], "<u4"),
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
    # An axis without a limit is what lets a chunked dataset be empty.
    shape = (chunk or max(1, len(data)), *data.shape[1:])
    file.create_dataset(
        name, data=data, chunks=shape, maxshape=(None, *data.shape[1:]), compression=gzip, fletcher32=True
    )


def _stored(dataset: h5py.Dataset, n: int, size: int) -> NDArray[np.int64]:
    places = np.zeros((n, 3), np.int64)

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        places[chunk.chunk_offset[0]] = chunk.byte_offset, chunk.size, chunk.filter_mask

    if dataset.shape[:3] != (n, size, size) or dataset.chunks != (1, *dataset.shape[1:]) or dataset.dtype != np.uint8:
        raise ValueError(f"{dataset.name} is not of {size} × {size} pixels, one chunk for each sample")
    dataset.id.chunk_iter(note)
    if not places[:, 1].all():
        raise ValueError(f"{dataset.name} lacks a sample")
    return places


def _chunk(dataset: h5py.Dataset, row: int) -> NDArray[np.uint8]:
    _, stored = dataset.id.read_direct_chunk((row, *[0] * (dataset.ndim - 1)))
    return np.frombuffer(stored, np.uint8)[:-FLETCHER_BYTES]


def _crc32(pieces: Sequence[NDArray[np.uint8]]) -> int:
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece.data, crc)
    return crc


def _keep_name(path: Path) -> None:
    """After a power failure, a name in a folder is there for certain only when the folder was synchronised too."""
    with suppress(OSError):  # some network drives and Windows do without
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
