"""Exported programs of students, and the operators excluded from quantization."""

import importlib.util

import numpy as np
import pytest
import torch

from boxpromptiml import Localizer
from stage2_distill.inference.export.student_program import (
    PhotoToProbability,
    compare,
    exported,
    onnx_session,
    quantize,
    write_onnx,
)
from stage2_distill.inference.scored_map import ScoredMap
from stage2_distill.model.student import Student

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(absent), reason=f"the extra `export` is not installed: {', '.join(absent)}")


@needs_onnx
def test_operators_that_8_bits_would_slow_down_are_not_quantized(tmp_path):
    """These are depthwise convolutions, the first convolution, and products of two activations."""
    import onnx
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)
    weights = {"first": (8, 3, 3, 3), "depthwise": (8, 1, 3, 3), "pointwise": (8, 8, 1, 1), "linear": (8, 8)}
    nodes = [
        helper.make_node("Cast", ["photo"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["b", "first"], ["c"], "first conv", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "depthwise"], ["d"], "depthwise conv", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["d", "pointwise"], ["e"], "pointwise conv"),
        helper.make_node("MatMul", ["e", "linear"], ["f"], "linear product"),
        helper.make_node("MatMul", ["f", "f"], ["probability"], "attention"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("photo", TensorProto.UINT8, [1, 8, 8, 3])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 8, 8, 8])],
        [onnx.numpy_helper.from_array(rng.normal(size=of).astype(np.float32), name) for name, of in weights.items()],
    )
    path = tmp_path / "network.onnx"
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)
    quantize(path, list(rng.integers(0, 256, (3, 8, 8, 3), np.uint8)))
    eight = {each.name for each in onnx.load(path).graph.initializer if each.data_type == TensorProto.INT8}
    assert {name.removesuffix("_quantized") for name in eight if name.endswith("_quantized")} == {"pointwise", "linear"}


@needs_onnx
def test_the_papers_backbone_can_be_exported(tmp_path):
    torch.manual_seed(0)
    localizer = Localizer.from_student(Student(pretrained=False))
    network = PhotoToProbability(localizer).eval()
    write_onnx(exported(network), localizer, tmp_path / "tiny_vit.onnx")
    photo = np.random.default_rng(0).integers(0, 256, (250, 300, 3), np.uint8)
    found = compare(localizer, onnx_session(tmp_path / "tiny_vit.onnx"), [photo])
    assert found.difference < 1e-4


@needs_onnx
def test_the_forensic_branch_is_exported_as_well(tmp_path):
    student = Student("mobilenetv3_small_050", False, image_size=64, channels=16, prototypes=4, forensic=2)
    localizer = Localizer.from_student(student)
    network = PhotoToProbability(localizer).eval()
    write_onnx(exported(network), localizer, tmp_path / "forensic.onnx")
    photo = np.random.default_rng(0).integers(0, 256, (100, 90, 3), np.uint8)
    found = compare(localizer, onnx_session(tmp_path / "forensic.onnx"), [photo])
    assert found.difference < 1e-4  # rounding, which depends on the version of torch


def test_the_difference_of_masks_and_probabilities_is_printed():
    localizer = Localizer.from_student(
        Student("mobilenetv3_small_050", False, image_size=64, channels=16, prototypes=4)
    )
    localizer.threshold = 0.5
    photos = [np.full((10, 10, 3), level, np.uint8) for level in (0, 200)]
    truths = [np.zeros((10, 10), np.float32), np.pad(np.ones((10, 4), np.float32), ((0, 0), (0, 6)))]
    answers = [truths[0], np.roll(truths[1], 2, 1) * 0.75]
    localizer.localize_scored = lambda asked, **how: [ScoredMap(truths[int(asked[0].max() > 0)], 0.5)]
    found = compare(
        localizer, lambda photo: (torch.from_numpy(answers[int(photo.max() > 0)])[None], torch.tensor([0.25])), photos
    )
    assert (found.photos, found.difference) == (2, 1.0)
    assert found.f1 == pytest.approx((1 + 0.5) / 2)
