"""Time of each part of a training step, its share of a matrix product's rate, and time by kind of operation.

``RECIPE=full`` uses the full configuration instead of the released one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from table import QUICK, seconds_each, write_table
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from training_recipe import BACKBONE, BATCH, GPU, NAME, PRECISION, SIZE, loss, student

from stage2_distill.model.speed import Speed
from stage2_distill.model.student import Student

DEVICE = torch.device("cuda" if GPU else "cpu")
SIXTEEN = PRECISION != "32-true"
TURNS = 3
PRODUCT = 256 if QUICK else 2048
"""Side of the square matrices whose product is the reference."""
ACTIVATIONS = ("relu", "hardtanh", "gelu", "sigmoid", "silu", "clamp")
EVIDENCE = "self-similarity: where the photo agrees with itself"
"""The only part without a backward pass; always computed in 32 bits."""
WHOLE = "whole step"


class Step:
    """A training step, and each of its parts alone, on inputs computed in advance."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.student = student().to(DEVICE).train()
        Speed().prepare(self.student)
        self.loss = loss()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), 1e-4, fused=True)
        self.image = torch.rand(BATCH, 3, SIZE, SIZE, device=DEVICE)
        self.target = (torch.rand(BATCH, 1, SIZE, SIZE, device=DEVICE) > 0.8).float()
        self.grid = (-(-SIZE // self.student.fusion_stride),) * 2
        with torch.no_grad(), self.precision():
            self.normalized = _normalized(self.student, self.image)
            self.features = list(self.student.backbone(self.normalized)[-4:])
            if self.student.forensic is not None:
                self.features.append(self.student.forensic(self.image))
            if self.student.similarity is not None:
                self.evidence = self.student.similarity.evidence(self.image)
                self.features.append(self.student.similarity(self.evidence.maps))
            self.fused = self.student.fusion(self.features, self.grid)
            self.logits = self._sized(self.fused.logits)

    def precision(self) -> AbstractContextManager[object]:
        """Context manager for the recipe's precision."""
        return torch.autocast(DEVICE.type, torch.bfloat16, enabled=SIXTEEN)

    def parts(self) -> dict[str, Callable[[], Any]]:
        """Name → forward pass."""
        forward: dict[str, Callable[[], Any]] = {"backbone": lambda: self.student.backbone(self.normalized)[-4:]}
        network = self.student
        forensic, similarity = network.forensic, network.similarity
        comparison, prior = network.comparison, network.shape_prior
        if forensic is not None:
            forward["noise residual"] = lambda: [forensic(self.image)]
        if similarity is not None:
            forward[EVIDENCE] = lambda: similarity.evidence(self.image)
            forward["self-similarity: features"] = lambda: [similarity(self.evidence.maps)]
        forward["fusion"] = lambda: [self._sized(network.fusion(_leaves(self.features), self.grid).logits)]
        if comparison is not None:
            inputs = [self.fused.logits, self.fused.fused]
            forward["comparison of copies"] = lambda: [comparison(*_leaves(inputs), self.evidence)]
        if prior is not None:
            forward["shape prior"] = lambda: [prior(*_leaves([self.logits]))]
        forward["loss"] = lambda: [self._loss(*_leaves([self.logits]))]
        return forward

    def whole(self) -> None:
        """Run a whole step with the optimizer."""
        with self.precision():
            total = self._loss(self.student(self.image).logits)
        total.backward()
        self.update()

    def update(self) -> None:
        """Clip the gradients and update the weights."""
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()

    def run(self, forward: Callable[[], Any]) -> None:
        """Run a part forward and, if it is learned, backward."""
        with self.precision():
            answers = forward()
        if isinstance(answers, list):  # not the evidence
            torch.autograd.backward(answers, [torch.ones_like(answer) for answer in answers])

    def _sized(self, logits: Tensor) -> Tensor:
        return F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)

    def _loss(self, logits: Tensor) -> Tensor:
        return self.loss(logits, self.target, torch.ones(BATCH, device=DEVICE), self.target)


def main() -> None:
    """Time the parts, count their operations, and profile one whole step."""
    step = Step()
    step.whole()
    forward = step.parts()
    work = {name: partial(_waited, partial(step.run, f)) for name, f in forward.items()}
    work |= {"optimizer": partial(_waited, step.update), WHOLE: partial(_waited, step.whole)}
    seconds = seconds_each(work, TURNS, min)
    operations = {name: _operations(step, f) * (1 if name == EVIDENCE else 3) for name, f in forward.items()}
    operations[WHOLE] = sum(operations.values())
    rates = {bits: _product(dtype) for bits, dtype in ((32, torch.float32), (16, torch.bfloat16))}
    rows: list[list[Any]] = []
    for name, taken in seconds.items():
        row = [name, 1000 * taken, f"{taken / seconds[WHOLE]:.1%}"]
        if not operations.get(name):
            rows.append([*row, "–", "–", "–"])
            continue
        bits = 16 if SIXTEEN and name != EVIDENCE else 32
        rate = operations[name] / taken
        rows.append([*row, operations[name] / 1e9, rate / 1e9, f"{rate / rates[bits]:.1%}"])
    title = f"configs/{NAME}.yaml: {BACKBONE} at {SIZE} pixels, batches of {BATCH}, {PRECISION}"
    write_table(
        "training_parts",
        f"A training step part by part, {title}",
        ["part", "ms", "share of the step", "Gflop", "Gflop/s", "of a matrix product's rate"],
        rows,
        f"Forward and backward of each part alone, the fastest of {TURNS} turns. Operations are PyTorch's count of the "
        "forward pass, three times where a backward pass follows; the first part of self-similarity has none and "
        f"computes in 32 bits. A product of two matrices of {PRODUCT} × {PRODUCT} reaches {rates[32] / 1e9:,.0f} "
        f"Gflop/s in 32 bits and {rates[16] / 1e9:,.0f} in 16, measured in the same run. "
        f"Threads: {torch.get_num_threads()}. Load of the machine at the end: {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores.",
    )
    kinds = _kinds(step)
    write_table(
        "training_parts",
        f"What a training step waits for, {title}",
        ["kind of operation", "share of the step"],
        [[kind, f"{share:.1%}"] for kind, share in sorted(kinds.items(), key=lambda item: -item[1])],
        "Self time of PyTorch's operations in one step, by its profiler. Depthwise convolutions, norms, activations "
        "and copies do little arithmetic for each byte that they move: memory bounds them. Pointwise convolutions and "
        "products are what a faster matrix product would speed up.",
        "kinds",
    )


def _normalized(network: Student, image: Tensor) -> Tensor:
    return ((image - network.mean) / network.std).contiguous(memory_format=network.memory_format)


def _leaves(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().requires_grad_() for tensor in tensors]


def _waited(work: Callable[[], Any]) -> None:
    work()
    if GPU:
        torch.cuda.synchronize()


def _operations(step: Step, forward: Callable[[], Any]) -> int:
    with torch.no_grad(), step.precision(), FlopCounterMode(display=False) as counter:
        forward()
    return counter.get_total_flops()


def _product(dtype: torch.dtype) -> float:
    """Operations per second of a product of two large square matrices."""
    left, right = (torch.randn(PRODUCT, PRODUCT, device=DEVICE).to(dtype) for _ in range(2))
    work = {"product": lambda: _waited(lambda: left @ right)}
    return 2 * PRODUCT**3 / seconds_each(work, 5, min)["product"]


def _kinds(step: Step) -> dict[str, float]:
    """Kind of operation → share of the self time of a step."""
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if GPU else [ProfilerActivity.CPU]
    with profile(activities=activities, record_shapes=True) as recorded:
        _waited(step.whole)
    taken: dict[str, float] = defaultdict(float)
    for event in recorded.key_averages(group_by_input_shape=True):
        microseconds = event.self_device_time_total if GPU else event.self_cpu_time_total
        taken[_kind(event.key.lower(), event.input_shapes)] += microseconds
    return {kind: microseconds / sum(taken.values()) for kind, microseconds in taken.items()}


def _kind(name: str, shapes: Sequence[Sequence[int]]) -> str:
    if "conv" in name and "convert" not in name:
        weight = shapes[2 if "backward" in name else 1] if len(shapes) > 2 else []
        if len(weight) != 4:
            return "other convolutions"
        return (
            "depthwise convolutions"
            if weight[1] == 1
            else ("pointwise convolutions" if weight[2] == weight[3] == 1 else "other convolutions")
        )
    if any(word in name for word in ("::mm", "bmm", "addmm", "matmul", "attention")):
        return "matrix products"
    if "norm" in name and "clip" not in name:
        return "norms"
    if any(word in name for word in ACTIVATIONS):
        return "activations"
    if any(word in name for word in ("copy_", "::to", "contiguous", "convert")):
        return "copies: precision and order in memory"
    if any(word in name for word in ("upsample", "interpolate", "grid", "pool", "index", "gather")):
        return "resizing, pooling and displacing"
    return "the rest, element by element"


if __name__ == "__main__":
    main()
