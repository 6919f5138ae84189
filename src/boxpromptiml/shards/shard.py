"""Layout and reading of a shard, an HDF5 file of n samples at size S; ``writing`` writes it.

    image (n, S, S, 3) · pseudo_mask (n, S, S) · truth (n, S, S)   uint8, one sample per chunk, masks gzipped
    facts (n,)      table: image_id, width, height, boxes, confidence, crc32, authentic, has_truth, split, source, kind
    boxes (total,)  table: xyxy, score; in the order of the samples, facts.boxes is the number of each sample's boxes
    set_aside       skipped images of the shard's part of the manifest, as JSON

Attributes of the file are the fields of the Stamp and the computing time in seconds. Everything has a checksum: HDF5
protects every chunk (fletcher32) and, in this version of the format, its headers; strings have a fixed length because
HDF5 stores variable-length ones without checksum. ``facts.crc32`` covers the three stored chunks of a sample,
concatenated without HDF5's own checksums, for readers that bypass HDF5.

Masks are nearly all zeros and compress to a ninetieth. Photos would shrink by a quarter and take six times as long to
read; see `benchmarks/cache.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from boxpromptiml.core.records import InputError, Sample, SetAside, Stamp
from boxpromptiml.shards import raw_chunks

SCHEMA = 2
"""Version of this layout."""
PIXELS = ("image", "pseudo_mask", "truth")
BOX = np.dtype([("xyxy", "<f4", 4), ("score", "<f4")])
AGAIN = "run the same `boxpromptiml pseudomasks` command again to finish it"
REPAIR = (
    "run `boxpromptiml cache verify --repair` on this folder to keep the intact samples, then the same "
    "`boxpromptiml pseudomasks` command again to compute the rest"
)


class CacheError(InputError):
    """A cache cannot be used or written. The message is one line that names the file and the remedy."""


class DamageError(CacheError):
    """A shard, or a sample in it, is damaged."""


class SampleFacts(NamedTuple):
    """A row of the table ``facts``."""

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
    """A shard without its pixels, and their locations in the file; `raw_chunks` reads them without HDF5.

    Attributes:
        path: the HDF5 file.
        stamp: what produced it.
        facts: (n,) table, one row per sample; see `SampleFacts`.
        boxes: (total,) table with xyxy and score.
        first_box: (n + 1,) int64; sample i has the boxes first_box[i] to first_box[i + 1].
        stored: name → (n, 3) int64: offset and size in bytes of the sample's pixels, and HDF5's mask of filters skipped
            because they did not reduce the size.
        set_aside: skipped images of the shard's part of the manifest.
        seconds: computing time of the shard, by one process.
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
        """Decode the column ``split``, ``source`` or ``kind``, (n,) str."""
        return np.char.decode(self.facts[name], "utf-8")

    def sample(self, row: int, file: BinaryIO) -> Sample:
        """Read and verify one sample.

        Args:
            row: index in the shard.
            file: the shard, open for reading; its position changes.

        Raises:
            DamageError: the sample is damaged.
        """
        facts = SampleFacts(*self.facts[row].item())
        stored = [raw_chunks.read(file, *self.stored[name][row, :2].tolist()) for name in PIXELS]
        if raw_chunks.crc32(stored) != facts.crc32:
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
            split=facts.split.decode(),  # type: ignore[arg-type]  # only valid splits are written
            authentic=facts.authentic,
            kind=facts.kind.decode(),
            width=facts.width,
            height=facts.height,
        )

    def _inflated(self, name: str, row: int, stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = self.stamp.size
        whole = stored if self.stored[name][row, 2] & 1 else raw_chunks.inflated(stored, size**2)
        return whole.reshape(size, size)


def open_shard(path: Path, stamp: Stamp | None) -> Shard:
    """Read everything in a shard except its pixels.

    Args:
        path: the HDF5 file.
        stamp: required stamp, or None to accept any stamp with this schema.

    Raises:
        DamageError: the shard is damaged or truncated.
        CacheError: it is missing, or its stamp differs (the message names the field).
    """
    with opened(path) as file:
        found = read_stamp(file)
        _refuse_other_stamp(path, found, stamp)
        facts, boxes = file["facts"][:], file["boxes"][:]
        first_box = np.cumsum([0, *facts["boxes"]], dtype=np.int64)
        if facts.dtype.names != SampleFacts._fields or boxes.dtype != BOX or first_box[-1] != len(boxes):
            raise ValueError("its tables are inconsistent")
        return Shard(
            path=path,
            stamp=found,
            facts=facts,
            boxes=boxes,
            first_box=first_box,
            stored={name: raw_chunks.places(file[name], len(facts), found.size) for name in PIXELS},
            set_aside=msgspec.json.decode(file["set_aside"][:].tobytes(), type=list[SetAside]),
            seconds=float(file.attrs["seconds"]),
        )


def read_shard(path: Path, stamp: Stamp | None) -> tuple[list[Sample], list[SetAside]]:
    """Read a whole shard and verify its checksums.

    Args:
        path: the HDF5 file.
        stamp: required stamp, or None to accept any stamp with this schema.

    Raises:
        CacheError: as for `open_shard`; `DamageError` also if a sample is damaged.
    """
    samples, set_aside, damage = salvage(path, stamp)
    if damage:
        raise damage[0]
    return samples, set_aside


def salvage(path: Path, stamp: Stamp | None) -> tuple[list[Sample], list[SetAside], list[DamageError]]:
    """Read all intact samples of a shard, and collect errors for the others.

    Args:
        path: the HDF5 file.
        stamp: required stamp, or None to accept any stamp with this schema.

    Returns:
        The intact samples, the skipped images, and an error for each damaged sample, or a single one if the shard
        cannot be read at all.

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
    """Open a shard for reading with h5py, converting h5py's various errors.

    Raises:
        DamageError: the shard is damaged or truncated.
        CacheError: it is missing.
    """
    try:
        # Network drives do not support locks, and each chunk is read only once, so a chunk cache would not help.
        with h5py.File(path, "r", locking=False, rdcc_nbytes=0) as file:
            yield file
    except CacheError:
        raise
    except FileNotFoundError:
        raise CacheError(f"{path}: the shard is missing; {REPAIR}") from None
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, msgspec.MsgspecError) as error:  # all from h5py
        reason = " ".join(str(error).split())
        raise DamageError(f"{path}: the shard is damaged or cut off ({reason}); {REPAIR}") from None


def read_stamp(file: h5py.File) -> Stamp:
    """Read the stamp of an open shard.

    Raises:
        KeyError: it is not a shard.
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
                f"{path}: made with {name} {getattr(found, name)}, not {value}; use a separate folder for each "
                "run, or delete the folder to start over"
            )
