"""Conversion of networks for other runtimes."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from boxpromptiml.core.records import InputError
from stage2_distill.inference.onnx_conversion import convert_to_onnx, export_program, require_onnx


def test_a_program_takes_batches_of_any_size():
    network = nn.Conv2d(3, 1, 3).eval()
    program = export_program(network, torch.zeros(2, 3, 8, 8), ["batch"]).module()
    for batch in (1, 5):
        images = torch.rand(batch, 3, 8, 8)
        torch.testing.assert_close(program(images), network(images))


def test_onnx_has_the_names_given():
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network = nn.Conv2d(3, 1, 3).eval()
    program = export_program(network, torch.zeros(2, 3, 8, 8), ["batch"])
    content = convert_to_onnx(program, ["image"], ["map"]).model_proto.SerializeToString()
    images = torch.rand(4, 3, 8, 8)
    (found,) = runtime.InferenceSession(content).run(["map"], {"image": images.numpy()})
    assert np.abs(found - network(images).numpy(force=True)).max() < 1e-5


def test_missing_packages_are_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(InputError, match=r"ONNX needs onnx; .*boxpromptiml\[export\]"):
        require_onnx()
