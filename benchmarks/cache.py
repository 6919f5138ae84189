"""The cache: bytes per sample and reading speed by storage layout, and speed of the training loader."""

from __future__ import annotations

import contextlib
import cProfile
import importlib.util
import pstats
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO

import cv2
import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from table import QUICK, write_table
from torch.utils.data import DataLoader

from boxpromptiml.core.records import Sample
from boxpromptiml.shards import ShardReader
from boxpromptiml.shards.raw_chunks import FLETCHER_BYTES
from boxpromptiml.shards.shard import PIXELS
from boxpromptiml.synthesis.generate import synthesize
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers.grabcut import GrabCut
from stage2_distill.data.dataset import PseudoMaskDataset
from stage2_distill.data.preprocessing import Resize

SIZE = 256
SAMPLES = 16 if QUICK else 512
DRAWS = 50 if QUICK else 2_000
TURNS = 1 if QUICK else 7
BATCH = 64
SLOWEST = 6
"""Number of entries of the loader's profile in the table's note."""


@dataclass(frozen=True)
class Layout:
    """How pixels are stored.

    Attributes:
        photos: HDF5 filters.
        masks: HDF5 filters.
        packed: store masks with one bit per pixel, which loses the probabilities of a pseudo-mask.
    """

    photos: Mapping[str, Any] = field(default_factory=dict)
    masks: Mapping[str, Any] = field(default_factory=dict)
    packed: bool = False

    @property
    def plain(self) -> bool:
        """Whether the stored bytes need at most zlib, so that they can be read without HDF5."""
        return all(filters in ({}, GZIP) for filters in (self.photos, self.masks))


GZIP = {"compression": "gzip", "compression_opts": 1}
LZF = {"compression": "lzf"}
LAYOUTS = {
    "photos as they are, masks gzip (ours)": Layout({}, GZIP),
    "nothing compressed": Layout(),
    "gzip on all": Layout(GZIP, GZIP),
    "lzf on all": Layout(LZF, LZF),
    "photos as they are, masks lzf": Layout({}, LZF),
    "photos as they are, masks packed to bits": Layout(packed=True),
    "photos as they are, masks packed to bits, gzip": Layout({}, GZIP, packed=True),
}


def main() -> None:
    """Create a cache from forgeries of packaged photos, store it in every layout, and read all in random order."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    layouts = LAYOUTS | _blosc()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as files:
        reader = ShardReader(_cache(Path(name)))
        samples = [reader[i] for i in range(len(reader))]
        order = np.random.default_rng(0).integers(0, len(samples), DRAWS).tolist()
        sizes, ways = {}, {}
        for place, (label, layout) in enumerate(layouts.items()):
            path = Path(name) / f"{place}.h5"
            _store(path, samples, layout)
            sizes[label] = path.stat().st_size / len(samples)
            file = files.enter_context(h5py.File(path, rdcc_nbytes=0))
            ways[label, "h5py"] = _one_by_one(partial(_through_h5py, file, layout), order)
            if layout.plain:
                stream = files.enter_context(path.open("rb", buffering=0))
                ways[label, "past"] = _one_by_one(partial(_past_hdf5, _places(file), stream, layout), order)
        dataset = PseudoMaskDataset([reader], Resize(SIZE))
        loader = DataLoader(dataset, BATCH, sampler=order)
        ways["ours: ShardReader", "past"] = _one_by_one(reader.__getitem__, order)
        ways["ours: PseudoMaskDataset", "past"] = _one_by_one(dataset.__getitem__, order)
        ways[f"ours: DataLoader, batches of {BATCH}", "past"] = partial(_drain, loader)
        speeds = {way: DRAWS / seconds for way, seconds in _processor_seconds(ways).items()}
        profile = _profile(partial(_drain, loader))
    own = next(iter(sizes.values()))
    rows = [
        (label, f"{sizes.get(label, own):,.0f}", *(speeds.get((label, how), "-") for how in ("h5py", "past")))
        for label in dict.fromkeys(label for label, _ in ways)
    ]
    write_table(
        "cache",
        f"{DRAWS:,} samples of {SIZE} pixels in random order, out of {len(samples)} with pseudo-masks by GrabCut",
        ["layout, or part of our loader", "bytes a sample", "with h5py, samples/s", "past HDF5, samples/s"],
        rows,
        "Median of seven runs in turns, by processor time of one core, files in memory. A sample is a photo, a "
        "pseudo-mask and a truth mask, each a chunk of its own. With h5py: as any HDF5 program reads, fletcher32 "
        "checked. Past HDF5: chunks taken from the file by their places, CRC-32 checked, zlib where needed. The loader "
        "reads, draws the box mask and stacks batches, without augmentation. Masks packed to bits lose the teacher's "
        f"probabilities. {'' if _blosc() else 'No row for blosc2: hdf5plugin is not installed. '}"
        f"Where the loader's time goes: {profile}.",
    )


def _cache(folder: Path) -> Path:
    synthesize(folder / "data", train=SAMPLES, val=0, test=0, size=SIZE)
    manifest, cache = folder / "data/manifest.json", folder / "cache"
    pseudomasks(manifest, cache, GrabCut(), SIZE, workers=0, accelerator="cpu", devices=1)
    return cache


def _blosc() -> dict[str, Layout]:
    if importlib.util.find_spec("hdf5plugin") is None:
        return {}
    import hdf5plugin

    filters = dict(hdf5plugin.Blosc2(cname="lz4", clevel=1))
    return {"blosc2 (lz4) on all": Layout(filters, filters), "photos as they are, masks blosc2": Layout({}, filters)}


def _store(path: Path, samples: Sequence[Sample], layout: Layout) -> None:
    blank = np.zeros((SIZE, SIZE), np.uint8)
    truths = [blank if sample.truth is None else sample.truth for sample in samples]
    pixels = [[sample.image for sample in samples], [sample.pseudo_mask for sample in samples], truths]
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, stack in zip(PIXELS, pixels, strict=True):
            data, filters = np.stack(stack), layout.photos if name == "image" else layout.masks
            if layout.packed and name != "image":
                data = np.packbits(data > 127, axis=2)
            file.create_dataset(name, data=data, chunks=(1, *data.shape[1:]), fletcher32=True, **filters)


def _through_h5py(file: h5py.File, layout: Layout, row: int) -> list[NDArray[np.uint8]]:
    return [_unpacked(file[name][row], layout, name) for name in PIXELS]


def _places(file: h5py.File) -> dict[str, list[Any]]:
    """Return the offset and size of each chunk, by dataset."""
    found: dict[str, list[Any]] = {name: [None] * len(file[name]) for name in PIXELS}
    for name, places in found.items():
        for chunk in map(file[name].id.get_chunk_info, range(len(places))):
            places[chunk.chunk_offset[0]] = chunk.byte_offset, chunk.size - FLETCHER_BYTES
    return found


def _past_hdf5(places: dict[str, list[Any]], stream: BinaryIO, layout: Layout, row: int) -> list[NDArray[np.uint8]]:
    crc, pixels = 0, []
    for name in PIXELS:
        offset, count = places[name][row]
        stored = np.empty(count, np.uint8)
        stream.seek(offset)
        stream.readinto(stored)  # type: ignore[attr-defined]  # exists on all binary files
        crc = zlib.crc32(stored.data, crc)
        if layout.photos if name == "image" else layout.masks:
            stored = np.frombuffer(bytearray(zlib.decompress(stored.data, bufsize=SIZE * SIZE * 3)), np.uint8)
        pixels.append(_unpacked(stored.reshape(SIZE, -1), layout, name))
    return pixels


def _unpacked(stored: NDArray[np.uint8], layout: Layout, name: str) -> NDArray[np.uint8]:
    return np.unpackbits(stored, axis=1) * np.uint8(255) if layout.packed and name != "image" else stored


def _one_by_one(read: Callable[[int], Any], order: Sequence[int]) -> Callable[[], None]:
    def read_all() -> None:
        for row in order:
            read(row)

    return read_all


def _drain(loader: DataLoader[Any]) -> None:
    for _ in loader:
        pass


def _processor_seconds(ways: Mapping[tuple[str, str], Callable[[], Any]]) -> dict[tuple[str, str], float]:
    """Return the median CPU time of each way, alternating between them; excludes other programs on the machine."""
    taken: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for _ in range(TURNS):
        for way, read_all in ways.items():
            start = time.process_time()
            read_all()
            taken[way].append(time.process_time() - start)
    return {way: median(seconds) for way, seconds in taken.items()}


def _profile(work: Callable[[], Any]) -> str:
    """Format the functions with the largest own time, with their fractions of the total."""
    profile = cProfile.Profile()
    profile.runcall(work)
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    slowest = sorted(stats.items(), key=lambda item: -item[1][2])[:SLOWEST]
    return ", ".join(f"{name.strip('<>')} {own / total:.0%}" for (_, _, name), (_, _, own, _, _) in slowest)


if __name__ == "__main__":
    main()
