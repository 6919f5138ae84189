"""Exported students in ONNX Runtime and as torch.export programs, against PyTorch."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from boxpromptiml import Localizer
from boxpromptiml.cli import main
from boxpromptiml.synthesis.photos import packaged_photos
from stage2_distill.inference.export import student_program
from stage2_distill.model.student import Student

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(absent), reason=f"the extra `export` is not installed: {', '.join(absent)}")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    student = Student("mobilenetv3_small_050", pretrained=False, image_size=64, channels=16, prototypes=4)
    folder = tmp_path_factory.mktemp("model")
    Localizer.from_student(student, 0.4, "by hand").save(folder)
    return folder


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    assert main(["export", "--checkpoint", str(model), "--out", str(path)]) == 0
    return path


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@needs_onnx
@pytest.mark.parametrize("size", [(1, 64, 64), (5, 100, 333), (2, 17, 900), (1, 1, 1)])
def test_batches_of_any_length_and_size_give_the_same_as_pytorch(model, onnx_file, size):
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    probability, score = session(onnx_file).run(None, {"photo": photo})
    with torch.no_grad():
        expected = student_program.PhotoToProbability(Localizer.load(model))(torch.from_numpy(photo))
    np.testing.assert_allclose(probability, expected[0], atol=1e-5)
    np.testing.assert_allclose(score, expected[1], atol=1e-5)


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory):
    """A student whose prediction flips if a few input pixels change by one level."""
    torch.manual_seed(0)
    student = Student("mobilenetv3_small_050", pretrained=False, image_size=64, channels=16, prototypes=4)
    with torch.no_grad():
        for weight in student.parameters():
            weight *= 1.4 if weight.ndim == 4 else 1
    folder = tmp_path_factory.mktemp("sensitive")
    Localizer.from_student(student).save(folder)
    return folder


@pytest.fixture(scope="module", params=[pytest.param(".onnx", marks=needs_onnx), ".pt2"])
def exported_student(request, sensitive, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / f"student{request.param}"
    assert main(["export", "--checkpoint", str(sensitive), "--out", str(path)]) == 0
    return student_program.onnx_session(path) if request.param == ".onnx" else torch.export.load(path).module()


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("size", [None, (64, 64), (63, 65), (40, 30), (300, 200), (800, 533)], ids=str)
def test_raw_pixels_give_the_same_as_predict(sensitive, exported_student, index, size):
    photo = Image.open(packaged_photos()[index].path).convert("RGB")
    pixels = np.array(photo if size is None else photo.resize(size))
    probability, score = (each.detach().numpy() for each in exported_student(torch.from_numpy(pixels[None])))
    found = Localizer.load(sensitive).predict(pixels)
    assert np.abs(probability[0] - found.probability).max() < 0.01
    assert score[0] == pytest.approx(found.score, abs=0.01)


@needs_onnx
def test_the_file_contains_its_threshold(onnx_file):
    stated = session(onnx_file).get_modelmeta().custom_metadata_map
    assert stated["threshold"] == "0.4"
    assert stated["calibration"] == "by hand"
    assert json.loads(stated["student"])["image_size"] == 64


@needs_onnx
def test_an_8_bit_export_is_smaller_and_close(model, onnx_file, tmp_path, capsys, monkeypatch):
    # quantization starts from the file of another test, because a conversion takes many seconds
    monkeypatch.setattr(student_program, "write_onnx", lambda program, student, path: shutil.copy(onnx_file, path))
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, photo in enumerate(packaged_photos()[:4]):
        Image.open(photo.path).convert("RGB").save(photos / f"{index}.png")
    (photos / "broken.png").write_bytes(b"")
    path = tmp_path / "int8.onnx"
    assert main(["export", "--checkpoint", str(model), "--out", str(path), "--int8", str(photos)]) == 3
    assert path.stat().st_size < 0.6 * onnx_file.stat().st_size
    pixels = np.asarray(Image.open(photos / "0.png"))[None]
    exact, close = (session(each).run(None, {"photo": pixels})[0] for each in (onnx_file, path))
    assert 0 < np.abs(exact - close).mean() < 0.05
    said = capsys.readouterr().out
    assert "F1" in said
    assert f"skipped: {photos / 'broken.png'}: " in said
    assert _with_8_bit_weights(path) == {"Conv"}  # for this backbone


def _with_8_bit_weights(path):
    """Types of operators that read an 8-bit weight."""
    import onnx

    graph = onnx.load(path).graph
    eight = {each.name for each in graph.initializer if each.data_type == onnx.TensorProto.INT8}
    wide = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in eight}
    return {node.op_type for node in graph.node if wide & set(node.input)}


def test_the_torch_export_program_gives_the_same(model, tmp_path):
    words = ["export", "--checkpoint", str(model), "--out", str(tmp_path / "student.pt2")]
    assert main(words) == 0
    assert main(words) == 0, "the same again is the same file"
    photo = torch.randint(0, 256, (3, 77, 120, 3), dtype=torch.uint8)
    program = torch.export.load(tmp_path / "student.pt2").module()
    with torch.no_grad():
        expected = student_program.PhotoToProbability(Localizer.load(model))(photo)
    torch.testing.assert_close(program(photo), expected)


@pytest.mark.parametrize(("out", "more"), [("student.pt", []), ("student", []), ("student.pt2", ["--int8", "photos"])])
def test_other_suffixes_are_refused(model, tmp_path, capsys, out, more):
    assert main(["export", "--checkpoint", str(model), "--out", str(tmp_path / out), *more]) == 2
    assert "unknown suffix" in capsys.readouterr().err


@pytest.mark.parametrize("difference", [0.02, float("nan")])
def test_an_export_with_different_results_is_deleted(model, tmp_path, capsys, monkeypatch, difference):
    class Other(student_program.PhotoToProbability):
        def forward(self, photo):
            probability, score = super().forward(photo)
            return probability + difference, score

    monkeypatch.setattr(student_program, "PhotoToProbability", Other)
    assert main(["export", "--checkpoint", str(model), "--out", str(tmp_path / "student.pt2")]) == 2
    assert f"differ from predict's by {difference:g}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["export", "--checkpoint", str(model), "--out", str(tmp_path / "student.onnx")]) == 2
    assert "pip install 'boxpromptiml[export]'" in capsys.readouterr().err
