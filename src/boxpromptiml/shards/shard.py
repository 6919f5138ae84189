"""One shard: an HDF5 file of n samples at size S, and how it is read; ``writing`` writes it.

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
"""Version of the layout above."""
PIXELS = ("image", "pseudo_mask", "truth")
BOX = np.dtype([("xyxy", "<f4", 4), ("score", "<f4")])
AGAIN = "run the same `boxpromptiml pseudomasks` command again to finish it"
REPAIR = (
    "`boxpromptiml cache verify --repair true` on this folder keeps what is whole, then run the same "
    "`boxpromptiml pseudomasks` command again to compute the rest"
)


class CacheError(InputError):
    """A cache that cannot be used or written. Its text is one line that names the file and the remedy."""


class DamageError(CacheError):
    """A shard, or a sample in it, that is not what was written."""


class SampleFacts(NamedTuple):
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
    """A shard without its pixels, and where in the file those lie; `raw_chunks` says why they are read past HDF5.

    Attributes:
        path: the HDF5 file.
        stamp: what produced it.
        facts: (n,) table, one row for each sample; see `SampleFacts`.
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
            split=facts.split.decode(),  # type: ignore[arg-type]  # nothing else was written
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
        if facts.dtype.names != SampleFacts._fields or boxes.dtype != BOX or first_box[-1] != len(boxes):
            raise ValueError("its tables do not fit together")
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
        The samples that are whole, the images skipped, and one error for each damaged sample, or one for the shard
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
