"""A student in PyTorch and as exported files: latency and F1."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from table import QUICK, seconds_each, write_table

from boxpromptiml import Localizer, images
from boxpromptiml.core.records import ImageRecord, Split
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.scoring.score_functions import counts_per_image, f1_from_counts
from stage2_distill.inference.export.student_program import (
    PhotoToProbability,
    exported,
    onnx_session,
    quantize,
    write_onnx,
)
from stage2_distill.model.student import Student

RUN = Path(os.environ.get("RUN", "runs/demo"))
"""A run whose student's F1 is measured; if it does not exist, only latency is measured."""
THREADS = int(os.environ.get("THREADS", os.cpu_count() or 1))
REPEATS = 2 if QUICK else 7
IMAGES = 5 if QUICK else 10_000
EAGER = "PyTorch eager"
Infer = Callable[[NDArray[np.uint8]], Any]


def main() -> None:
    """Time one photo of the student's own size with the paper's backbone and with the run's student."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    checkpoint, manifest = RUN / "fit/checkpoints/best.ckpt", RUN / "data/manifest.json"
    there = checkpoint.exists() and manifest.exists()
    records = read_manifest(manifest).records if there else []
    calibration = [images.read_photo(record.path) for record in _of(records, "train")[::20][:100]]
    noise = list(np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8))
    paper = Localizer.from_student(Student(pretrained=False))
    with tempfile.TemporaryDirectory() as name:
        ways = _ways(paper, calibration or noise, Path(name) / "paper.onnx")
        seconds = _latency(ways, 224)
        f1, side = {}, 0
        if there:
            trained = Localizer.load(checkpoint)
            side = trained.student.image_size
            ways = _ways(trained, calibration, Path(name) / "trained.onnx")
            trained_seconds = _latency(ways, side)
            f1 = {way: _mean_f1(infer, _of(records, "test")[:IMAGES]) for way, infer in ways.items()}
    rows = []
    for way, taken in seconds.items():
        row: list[Any] = [way, taken * 1000, taken / seconds[EAGER]]
        if there:
            row += [trained_seconds[way] * 1000, trained_seconds[way] / trained_seconds[EAGER]]
            row += [f"{f1[way]:.4f}", f"{f1[way] - f1[EAGER]:+.4f}"]
        rows.append(row)
    columns = ["way", "TinyViT at 224, ms", "× eager"]
    if there:
        columns += [f"the run's student at {side}, ms", "× eager", "its F1", "difference"]
    write_table(
        "export",
        f"One photo to its mask, {THREADS} thread{'s' * (THREADS > 1)}",
        columns,
        rows,
        f"Median of {REPEATS} turns of 10 photos, one at a time, from uint8 pixels to the mask at the photo's size. "
        "Latency with TinyViT is that of random weights. F1 is the mean over the manipulated test images of the "
        f"run {RUN.name}, above 0.5 and at the photos' own size; ranges for int8 come from 100 of its training photos. "
        f"Settings: THREADS={THREADS} RUN=runs/{RUN.name}.",
    )


def _ways(localizer: Localizer, samples: Sequence[images.Photo], path: Path) -> Mapping[str, Infer]:
    network = PhotoToProbability(localizer).eval()
    write_onnx(exported(network), localizer, path)
    small = path.with_suffix(".int8.onnx")
    small.write_bytes(path.read_bytes())
    quantize(small, samples)
    compiled = torch.compile(network)

    def in_pytorch(module: Any) -> Infer:
        def infer(photo: NDArray[np.uint8]) -> Any:
            with torch.inference_mode():
                return module(torch.from_numpy(photo))

        return infer

    return {
        EAGER: in_pytorch(network),
        "PyTorch compiled": in_pytorch(compiled),
        "ONNX Runtime, fp32": onnx_session(path, THREADS),
        "ONNX Runtime, int8": onnx_session(small, THREADS),
    }


def _latency(ways: Mapping[str, Infer], side: int) -> dict[str, float]:
    """Return the median seconds for a photo of the student's own size, after a warm-up."""
    photo = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    for infer in ways.values():
        infer(photo)
        infer(photo)
    repeated = {way: lambda infer=infer: [infer(photo) for _ in range(10)] for way, infer in ways.items()}
    return {way: taken / 10 for way, taken in seconds_each(repeated, REPEATS).items()}


def _mean_f1(infer: Infer, records: Sequence[ImageRecord]) -> float:
    scores = []
    for record in records:
        if record.mask_path is not None and not record.authentic:
            photo, truth = images.read_record(record)
            counts = counts_per_image(infer(photo[None])[0], torch.from_numpy(truth)[None])
            scores.append(f1_from_counts(*counts).item())
    return float(np.mean(scores))


def _of(records: Sequence[ImageRecord], split: Split) -> list[ImageRecord]:
    return [record for record in records if record.split == split]


if __name__ == "__main__":
    main()
