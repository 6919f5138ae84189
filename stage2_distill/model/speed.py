"""How training computes, as against what: results are the same but for rounding."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from boxpromptiml.core.records import InputError
from stage2_distill.model.student import Student


@dataclass(frozen=True)  # without slots, which jsonargparse cannot read defaults from
class Speed:
    """How training computes. `make bench ONLY=training` measures what each is worth; precision is the Trainer's.

    Args:
        compiled: run the student through torch.compile while training. Needs a C++ compiler; the first steps take
            minutes, so it pays for long runs.
        channels_last: keep the channels of a pixel side by side in memory.
        fused: update all parameters in one kernel.
        depthwise_fp32: under bf16 on a CPU, compute depthwise convolutions with strides or large kernels in 32 bits:
            oneDNN's 16-bit backward pass takes two to three times as long.
    """

    compiled: bool = False
    channels_last: bool = True
    fused: bool = True
    depthwise_fp32: bool = True

    def prepare(self, student: Student) -> None:
        """Lay the student out in memory and compile it, in place: names in checkpoints stay as they are."""
        student.lay_out(torch.channels_last if self.channels_last else torch.contiguous_format)
        if self.depthwise_fp32:
            for module in student.modules():
                if isinstance(module, nn.Conv2d) and _slow_in_bf16(module) and "forward" not in vars(module):
                    module.forward = partial(_in_32_bits, module.forward)  # type: ignore[method-assign]
        if self.compiled:
            student.compile()


def _slow_in_bf16(convolution: nn.Conv2d) -> bool:
    depthwise = convolution.groups == convolution.in_channels > 1
    return depthwise and (convolution.stride[0] > 1 or convolution.kernel_size[0] > 3)


def _in_32_bits(forward: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    if values.device.type != "cpu":
        return forward(values)
    with torch.autocast("cpu", enabled=False):
        return forward(values.float())


def step_seed(epoch: int, batch_index: int, rank: int) -> int:
    """Seed of what is random inside the network in one step of one process: of a run, always the same."""
    run = int(os.environ.get("PL_GLOBAL_SEED", 0))  # where Lightning keeps the run's seed
    return int(np.random.SeedSequence([run, epoch, batch_index, rank]).generate_state(1)[0])


def require_unused_parameters_found(model: nn.Module | None) -> None:
    """Several processes wait for each other's gradients, also for those that a frozen backbone does not have.

    Raises:
        InputError: the processes would wait for ever.
    """
    if isinstance(model, DistributedDataParallel) and not model.find_unused_parameters:
        raise InputError(
            "model.freeze_backbone on several processes needs --trainer.strategy ddp_find_unused_parameters_true"
        )
