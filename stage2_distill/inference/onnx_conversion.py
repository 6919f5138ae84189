"""Conversion of networks to `torch.export` programs and to ONNX."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from boxpromptiml.core.records import InputError

if TYPE_CHECKING:  # a slow import that --help does not need
    import torch
    from torch import Tensor, nn

TOLERANCE = 1e-2
"""Largest accepted difference in probability, at any pixel, between a network and its conversion in fp32."""
LONGEST = 1 << 24
"""Upper bound of batch size and image sides; without one, older versions of torch would infer it."""


def require_onnx() -> None:
    """Require the packages of the extra `export`.

    Raises:
        InputError: names the missing packages.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX needs {', '.join(missing)}; install them with: pip install 'boxpromptiml[export]'")


def export_program(network: nn.Module, example: Tensor, any_size: Sequence[str]) -> torch.export.ExportedProgram:
    """Export a network with `torch.export`.

    Args:
        network: a network with a single input.
        example: an example of its input.
        any_size: names of the input's leading axes whose size is dynamic.
    """
    import torch

    sizes = {axis: torch.export.Dim(name, min=1, max=LONGEST) for axis, name in enumerate(any_size)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The tensor attributes .*attention_bias_cache")  # TinyViT's
        return torch.export.export(network, (example,), dynamic_shapes=(sizes,), strict=False)


def convert_to_onnx(
    program: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]
) -> torch.onnx.ONNXProgram:
    """Convert a program to ONNX, with names for its inputs and outputs."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # announcements of the exporter
        onnx_program = torch.onnx.export(
            program, (), input_names=inputs, output_names=outputs, dynamo=True, verbose=False
        )
    assert onnx_program is not None
    return onnx_program
