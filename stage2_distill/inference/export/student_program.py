"""A student as a program that runs without this package: export, ONNX conversion, quantization, comparison."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from boxpromptiml.images import Photo, read_photo, resize_photo
from boxpromptiml.scoring.score_functions import counts_per_image, f1_from_counts
from boxpromptiml.synthesis.photos import packaged_photos
from stage2_distill.inference.export.resizing import resize_probability, shrink_photo
from stage2_distill.inference.localizer import Localizer
from stage2_distill.inference.onnx_conversion import convert_to_onnx, export_program

if TYPE_CHECKING:  # installed by the extra `export`
    import onnx

SIZES = ((0.5, 0.4), (1, 1), (2, 2), (1.1, 3.7), (6, 4), (8, 0.5))
"""Heights and widths, relative to the student's input, of additional comparisons with resized packaged photos."""
PRODUCTS = ["Conv", "MatMul", "Gemm"]
"""ONNX operators that 8 bits can accelerate."""


class PhotoToProbability(nn.Module):
    """The complete computation from a photo's pixels to its mask, so that an export is self-contained.

    Gives the same result as `Localizer.predict` for photos of any size.

    Args:
        localizer: on the CPU.
    """

    def __init__(self, localizer: Localizer) -> None:
        super().__init__()
        self.localizer = localizer
        self.side = localizer.student.image_size

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Map photos (B, H, W, 3) uint8 RGB to probability (B, H, W) and score (B,), both in [0, 1]."""
        small, score = self.localizer(shrink_photo(photo, self.side) / 255)
        return resize_probability(small, photo.shape[1], photo.shape[2])[:, 0], score


def exported(network: PhotoToProbability) -> torch.export.ExportedProgram:
    """Export the network as a program for batches and photos of any size."""
    example = torch.zeros(2, 2 * network.side - 1, 3 * network.side + 1, 3, dtype=torch.uint8)
    return export_program(network, example, ("batch", "height", "width"))


def write_onnx(program: torch.export.ExportedProgram, localizer: Localizer, path: Path) -> None:
    """Write an ONNX file including its weights, with the threshold and the student's arguments in the metadata."""
    onnx_program = convert_to_onnx(program, ["photo"], ["probability", "score"])
    facts = {
        "threshold": f"{localizer.threshold:g}",
        "calibration": localizer.calibration,
        "student": json.dumps(localizer.student.arguments),
    }
    onnx_program.model.metadata_props.update(facts)
    onnx_program.save(str(path), external_data=False)


def quantize(path: Path, samples: Sequence[Photo]) -> None:
    """Quantize an ONNX file in place where 8 bits are faster, with ranges measured on photos.

    Convolutions and matrix products with many weights are quantized. Depthwise convolutions, the first convolution and
    products of two activations (attention) would be slower in 8 bits because of the conversions around them.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        """Provides the photos one by one."""

        def __init__(self) -> None:
            self.left: Iterator[Photo] = iter(samples)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            """Return the next input, or None at the end."""
            photo = next(self.left, None)
            return None if photo is None else {"photo": photo[None]}

    with tempfile.TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"  # with batch norms folded into convolutions
        quant_pre_process(path, folded, skip_symbolic_shape=True)
        quantize_static(
            folded,
            path,
            Reader(),
            op_types_to_quantize=PRODUCTS,
            nodes_to_exclude=_dear_in_8_bits(onnx.load(folded)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "CalibMovingAverage": True,  # ranges over the extremes of all photos would waste levels and lower F1
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],  # the next operators compute in 32 bits
            },
        )


def _dear_in_8_bits(model: onnx.ModelProto) -> list[str]:
    """Return the names of the operators to keep in 32 bits."""
    shapes = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}

    def is_dear(node: onnx.NodeProto) -> bool:
        shape = shapes.get(node.input[1])
        grouped = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
        return shape is None or grouped or (node.op_type == "Conv" and shape[1] == 3)

    return [node.name for node in model.graph.node if node.op_type in PRODUCTS and is_dear(node)]


def onnx_session(path: Path, threads: int = 0) -> Any:
    """Load an ONNX file as a function from photos to probability and score, on the CPU; 0 threads for all cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda photo: [torch.from_numpy(output) for output in session.run(None, {"photo": np.asarray(photo)})]


@dataclass(frozen=True, slots=True)
class ExportDifference:
    """Comparison of an export with `Localizer.predict`.

    Attributes:
        photos: number of photos compared.
        difference: largest difference of a probability, at any pixel, or of a score.
        f1: mean F1 over photos of the export's masks against ``predict``'s, both above the localizer's threshold.
    """

    photos: int
    difference: float
    f1: float

    def __str__(self) -> str:
        return (
            f"on {self.photos} photos of many sizes, probabilities and scores differ from predict's by at most "
            f"{self.difference:.2g}, and its masks have F1 {self.f1:.4f} against predict's"
        )


def compare(localizer: Localizer, run_exported: Any, photos: Iterable[Photo]) -> ExportDifference:
    """Compare a localizer with an export, as returned by `onnx_session`, on photos (H, W, 3)."""
    differences, scores = [], []
    for photo in photos:
        predicted = localizer.predict(photo)
        expected = torch.from_numpy(predicted.probability)[None]
        with torch.inference_mode():
            probability, score = run_exported(torch.from_numpy(photo)[None])
        differences.append(torch.maximum((probability - expected).abs().max(), (score - predicted.score).abs().max()))
        counts = counts_per_image(probability, expected > localizer.threshold, localizer.threshold)
        scores.append(f1_from_counts(*counts))
    return ExportDifference(len(scores), torch.stack(differences).max().item(), torch.cat(scores).mean().item())


def comparison_photos(side: int) -> Iterator[Photo]:
    """Yield the packaged photos, each at its own size and at one of `SIZES`, and a noise image."""
    for photo, (height, width) in zip(packaged_photos(), cycle(SIZES), strict=False):
        pixels = read_photo(photo.path)
        yield pixels
        yield resize_photo(pixels, int(width * side), int(height * side)).copy()
    yield np.random.default_rng(0).integers(0, 256, (2 * side, 3 * side, 3), np.uint8)
