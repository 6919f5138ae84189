"""Settings for training speed. They change results only by rounding."""

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


@dataclass(frozen=True)  # no slots, because jsonargparse could not read the defaults
class Speed:
    """Settings for training speed, measured by `make bench ONLY=training`. Precision is an option of the Trainer.

    Args:
        compiled: run the student through torch.compile during training. Needs a C++ compiler; the first steps take
            minutes, so it is worthwhile for long runs.
        channels_last: use the channels-last memory format.
        fused: use the fused AdamW kernel.
        depthwise_fp32: under bf16 on a CPU, compute depthwise convolutions with strides or large kernels in 32 bits:
            oneDNN's 16-bit backward pass takes two to three times as long.
    """

    compiled: bool = False
    channels_last: bool = True
    fused: bool = True
    depthwise_fp32: bool = True

    def prepare(self, student: Student) -> None:
        """Set the student's memory format and compile it, in place, so that names in checkpoints do not change."""
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
    """Return a seed for the randomness inside the network in one step of one process, reproducible for a run."""
    run = int(os.environ.get("PL_GLOBAL_SEED", 0))  # set by Lightning
    return int(np.random.SeedSequence([run, epoch, batch_index, rank]).generate_state(1)[0])


def require_unused_parameters_found(model: nn.Module | None) -> None:
    """Require DDP to find unused parameters, because it would wait for gradients that a frozen backbone does not have.

    Raises:
        InputError: the processes would wait forever.
    """
    if isinstance(model, DistributedDataParallel) and not model.find_unused_parameters:
        raise InputError(
            "model.freeze_backbone on several processes needs --trainer.strategy ddp_find_unused_parameters_true"
        )
