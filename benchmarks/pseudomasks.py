"""Stage one with Segment Anything, from files to shards: a simple loop, SAM's own batching, and ours.

Weights are random, which does not affect speed: ViT-H on a GPU, ViT-B on a CPU.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.fabric import Fabric
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, Sam
from segment_anything.utils.transforms import ResizeLongestSide
from table import QUICK, seconds_each, write_table

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, Sample, Stamp
from boxpromptiml.shards import SCHEMA, write_shard
from boxpromptiml.synthesis.photos import packaged_photos
from stage1_pseudomask import resume
from stage1_pseudomask.batch_size import fitting_batch_size
from stage1_pseudomask.engine import Job, compute
from stage1_pseudomask.loading import Prompt, Prompts
from stage1_pseudomask.teachers.sam import SegmentAnything
from stage1_pseudomask.teachers.sam_encoder import Kernel, encode, multiply_adds
from stage1_pseudomask.teachers.tiny_sam import tiny_sam

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
VARIANT: Literal["tiny", "vit_h", "vit_b"] = "tiny" if QUICK else "vit_h" if GPU else "vit_b"
IMAGES = 8 if QUICK else 192 if GPU else 2
FORWARD_BATCH = 8 if GPU else 2
WORKERS = 8 if GPU else 0
"""Number of loader processes; on a CPU, starting one would take longer than processing the few photos."""
SIZE = 256
STAMP = Stamp(SCHEMA, SIZE, "benchmark", "", "0", "0")
Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS: dict[str, Precision] = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Way:
    """One implementation: the function that runs it, and the corresponding arguments of ``encode``."""

    run: Callable[[Sequence[ImageRecord]], None]
    precision: Precision
    kernel: Kernel = "shipped"
    compiled: bool = False


def main() -> None:
    """Time every implementation, and measure its parts."""
    model = _model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = _data_set(folder)
        ways = _ways(model, folder)
        if GPU:  # kernels are selected and compiled on first use
            for way in ways.values():
                way.run(records[:32])
        seconds = seconds_each({label: partial(way.run, records) for label, way in ways.items()}, 2, min)
        rows = [_row(label, way, model, records, seconds) for label, way in ways.items()]
    measured = "peak GB and busy: of the GPU's memory and time. " if GPU else ""
    write_table(
        "pseudomasks",
        f"Pseudo-masks of {IMAGES} photos with two boxes each by SAM {VARIANT}, random weights",
        ["way", "images/s", "× fp32 loop", "× bf16 loop", "peak GB", "busy", "encoder TFLOP/s", "of a matrix product"],
        rows,
        "Files in, shards out, weights loaded before; the faster of two runs in turns. Loop: SamPredictor with all "
        f"boxes of an image at once; batches: Sam.forward. {measured}Last columns: the encoder alone, and that over "
        "what a large matrix product of the same precision reaches in the same run.",
    )


def _ways(model: Sam, folder: Path) -> dict[str, Way]:
    ways: dict[str, Way] = {}
    for short, precision in PRECISIONS.items():
        ways[f"SamPredictor loop, {short}"] = Way(partial(_loop, model, folder, precision), precision)
        if GPU or short == "fp32":
            ways[f"Sam.forward batches, {short}"] = Way(partial(_batches, model, folder, precision), precision)
    variations: list[tuple[str, Kernel, bool]] = [("fp32", "sdpa", False), ("bf16", "sdpa", False)]
    if GPU:
        variations += [("bf16", "flex", False), ("bf16", "sdpa", True), ("bf16", "flex", True)]
    for short, kernel, compiled in variations:
        label = f"ours, {short}, {kernel}{', compiled' * compiled}"
        run = partial(_ours, _teacher(model, kernel, compiled), folder, PRECISIONS[short])
        ways[label] = Way(run, PRECISIONS[short], kernel, compiled)
    return ways


def _loop(model: Sam, folder: Path, precision: Precision, records: Sequence[ImageRecord]) -> None:
    """Process one photo after the other, as in the examples of segment-anything."""
    prompts, predictor, samples = Prompts(records, SIZE, np.asarray), SamPredictor(model), []
    for i in range(len(records)):
        prompt = _prompt(prompts, i)
        with _autocast(precision):
            predictor.set_image(prompt.photo)
            boxes = torch.as_tensor(prompt.boxes_xyxy, device=model.device)
            boxes = predictor.transform.apply_boxes_torch(boxes, prompt.photo.shape[:2])
            masks, scores, _ = predictor.predict_torch(None, None, boxes, multimask_output=False)
        samples.append(_sample(prompt, masks, scores))
    write_shard(folder / "loop.h5", samples, [], STAMP)


def _batches(model: Sam, folder: Path, precision: Precision, records: Sequence[ImageRecord]) -> None:
    """Process batches with `Sam.forward`."""
    prompts, resize, samples = Prompts(records, SIZE, np.asarray), ResizeLongestSide(model.image_encoder.img_size), []
    for first in range(0, len(records), FORWARD_BATCH):
        batch = [_prompt(prompts, i) for i in range(first, min(first + FORWARD_BATCH, len(records)))]
        inputs = []
        for prompt in batch:
            pixels = torch.as_tensor(resize.apply_image(prompt.photo), device=model.device).permute(2, 0, 1)
            boxes = torch.as_tensor(prompt.boxes_xyxy, device=model.device)
            frame = prompt.photo.shape[:2]
            inputs.append({"image": pixels, "original_size": frame, "boxes": resize.apply_boxes_torch(boxes, frame)})
        with _autocast(precision):
            answers = model(inputs, multimask_output=False)
        pairs = zip(batch, answers, strict=True)
        samples += [_sample(prompt, answer["masks"], answer["iou_predictions"]) for prompt, answer in pairs]
    write_shard(folder / "batches.h5", samples, [], STAMP)


def _ours(teacher: SegmentAnything, folder: Path, precision: Precision, records: Sequence[ImageRecord]) -> None:
    fabric = Fabric(accelerator=DEVICE.type, devices=1, precision=precision)
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    job = Job(cache, STAMP, teacher, 0.05, fitting_batch_size(fabric, teacher, SIZE), WORKERS)
    compute(fabric, resume.slices(records, 64), job)


def _row(
    label: str, way: Way, model: Sam, records: Sequence[ImageRecord], seconds: dict[str, float]
) -> list[str | float]:
    loops = [seconds[f"SamPredictor loop, {short}"] for short in PRECISIONS]
    peak, busy = _on_gpu(way, records[:64]) if GPU else ("–", "–")
    rate = _encoder_rate(model.image_encoder, way.precision, way.kernel, way.compiled)
    limit = _product_rate(way.precision)
    speeds = [len(records) / seconds[label], *(loop / seconds[label] for loop in loops)]
    return [label, *speeds, peak, busy, rate / 1e12, f"{rate / limit:.0%}"]


def _on_gpu(way: Way, records: Sequence[ImageRecord]) -> tuple[str, str]:
    """Return the peak memory in GB, and the fraction of time during which at least one kernel runs."""
    torch.cuda.reset_peak_memory_stats()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    start = time.perf_counter()
    with torch.profiler.profile(activities=activities) as profile:
        way.run(records)
        torch.cuda.synchronize()
        taken = time.perf_counter() - start
    spans = ((event.time_range.start, event.time_range.end) for event in profile.events() or [])
    busy = _covered(spans) / 1e6
    return f"{torch.cuda.max_memory_allocated() / 1e9:.1f}", f"{busy / taken:.0%}"


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


@cache
def _encoder_rate(encoder: ImageEncoderViT, precision: Precision, kernel: Kernel, compiled: bool) -> float:
    """Return the encoder's floating-point operations per second."""
    batch = 8 if GPU else 1
    pixels = torch.randn(batch, 3, encoder.img_size, encoder.img_size, device=DEVICE)

    def run() -> None:
        with torch.inference_mode(), _autocast(precision):
            encode(encoder, pixels, kernel, compiled)

    return 2 * multiply_adds(encoder) * batch / _seconds(run)


@cache
def _product_rate(precision: Precision) -> float:
    """Return the floating-point operations per second of a large matrix product."""
    side = 8192 if GPU else 2048
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    matrix = torch.randn(side, side, device=DEVICE, dtype=dtype)
    return 2 * side**3 / _seconds(lambda: matrix @ matrix)


def _seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest run time, after a warm-up run."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if GPU:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return min(taken[1:])


def _model() -> Sam:
    torch.manual_seed(0)
    model = (tiny_sam() if VARIANT == "tiny" else sam_model_registry[VARIANT]()).eval().to(DEVICE)
    for name, parameter in model.image_encoder.named_parameters():
        if "pos" in name:  # zeros would probably be just as slow, but random values exclude any doubt
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def _teacher(model: Sam, kernel: Kernel, compiled: bool) -> SegmentAnything:
    teacher = SegmentAnything(VARIANT, kernel=kernel, compiled=compiled)
    teacher.model = model
    return teacher


def _data_set(folder: Path) -> list[ImageRecord]:
    """Write the packaged photos as JPEG, each with a large and a small box."""
    photos, records = packaged_photos(), []
    for i in range(IMAGES):
        photo = images.read_photo(photos[i % len(photos)].path)
        height, width = photo.shape[:2]
        path = folder / f"{i}.jpg"
        images.write_photo(path, photo)
        corners = np.array([(0.1, 0.2, 0.5, 0.7), (0.6, 0.3, 0.8, 0.5)]) * (width, height, width, height)
        records.append(ImageRecord(i, path, width, height, as_boxes(corners), "train", "photos"))
    return records


def _prompt(prompts: Prompts, i: int) -> Prompt:
    prompt = prompts[i]
    assert isinstance(prompt, Prompt)  # all photos are readable
    return prompt


def _sample(prompt: Prompt, masks: torch.Tensor, scores: torch.Tensor) -> Sample:
    union = masks[:, 0].any(0).cpu().numpy().astype(np.float32)
    mask = images.to_uint8(images.resize_probability(union, SIZE, SIZE))
    return replace(prompt.sample, pseudo_mask=mask, teacher_scores=scores[:, 0].float().cpu().numpy())


def _autocast(precision: Precision) -> torch.autocast:
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16-mixed")


if __name__ == "__main__":
    main()
