"""Exported students, run in ONNX Runtime and from torch.export's own file, beside PyTorch."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from PIL import Image

from boxpromptiml import Localizer
from boxpromptiml.cli import main
from boxpromptiml.synthesis.photos import packaged_photos
from stage2_distill.inference import exported_program
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
def test_any_number_of_photos_of_any_size_answers_as_in_pytorch(model, onnx_file, size):
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    probability, score = session(onnx_file).run(None, {"photo": photo})
    with torch.no_grad():
        expected = exported_program.PhotoToProbability(Localizer.load(model))(torch.from_numpy(photo))
    np.testing.assert_allclose(probability, expected[0], atol=1e-5)
    np.testing.assert_allclose(score, expected[1], atol=1e-5)


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory):
    """A student whose answer turns over where a few pixels of its input are one level brighter or darker."""
    torch.manual_seed(0)
    student = Student("mobilenetv3_small_050", pretrained=False, image_size=64, channels=16, prototypes=4)
    with torch.no_grad():
        for weight in student.parameters():
            weight *= 1.4 if weight.ndim == 4 else 1
    folder = tmp_path_factory.mktemp("sensitive")
    Localizer.from_student(student).save(folder)
    return folder


@pytest.fixture(scope="module", params=[pytest.param(".onnx", marks=needs_onnx), ".pt2"])
def answer(request, sensitive, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / f"student{request.param}"
    assert main(["export", "--checkpoint", str(sensitive), "--out", str(path)]) == 0
    return exported_program.onnx_session(path) if request.param == ".onnx" else torch.export.load(path).module()


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("size", [None, (64, 64), (63, 65), (40, 30), (300, 200), (800, 533)], ids=str)
def test_a_photo_needs_nothing_but_its_pixels_and_is_answered_as_by_predict(sensitive, answer, index, size):
    photo = Image.open(packaged_photos()[index].path).convert("RGB")
    pixels = np.array(photo if size is None else photo.resize(size))
    probability, score = (each.detach().numpy() for each in answer(torch.from_numpy(pixels[None])))
    found = Localizer.load(sensitive).predict(pixels)
    assert np.abs(probability[0] - found.probability).max() < 0.01
    assert score[0] == pytest.approx(found.score, abs=0.01)


@needs_onnx
def test_the_file_names_its_threshold(onnx_file):
    stated = session(onnx_file).get_modelmeta().custom_metadata_map
    assert stated["threshold"] == "0.4"
    assert stated["calibration"] == "by hand"
    assert json.loads(stated["student"])["image_size"] == 64


@needs_onnx
def test_in_eight_bits_it_is_smaller_and_close(model, onnx_file, tmp_path, capsys):
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
    assert f"set aside: {photos / 'broken.png'}: " in said
    assert _with_8_bit_weights(path) == {"Conv"}  # of this backbone; see the next test


def _with_8_bit_weights(path):
    """Operators that read a weight of 8 bits."""
    import onnx

    graph = onnx.load(path).graph
    eight = {each.name for each in graph.initializer if each.data_type == onnx.TensorProto.INT8}
    wide = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in eight}
    return {node.op_type for node in graph.node if wide & set(node.input)}


@needs_onnx
def test_eight_bits_are_left_out_where_they_cost_time(tmp_path):
    """Depthwise convolutions, the first one, and products of two activations."""
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
    exported_program.quantize(path, list(rng.integers(0, 256, (3, 8, 8, 3), np.uint8)))
    eight = {each.name for each in onnx.load(path).graph.initializer if each.data_type == TensorProto.INT8}
    assert {name.removesuffix("_quantized") for name in eight if name.endswith("_quantized")} == {"pointwise", "linear"}


@needs_onnx
def test_the_papers_backbone_can_be_exported(tmp_path):
    torch.manual_seed(0)
    localizer = Localizer.from_student(Student(pretrained=False))
    network = exported_program.PhotoToProbability(localizer).eval()
    exported_program.write_onnx(exported_program.exported(network), localizer, tmp_path / "tiny_vit.onnx")
    photo = np.random.default_rng(0).integers(0, 256, (250, 300, 3), np.uint8)
    found = exported_program.compare(localizer, exported_program.onnx_session(tmp_path / "tiny_vit.onnx"), [photo])
    assert found.difference < 1e-4


@needs_onnx
def test_the_forensic_branch_is_exported_as_well(tmp_path):
    student = Student("mobilenetv3_small_050", False, image_size=64, channels=16, prototypes=4, forensic=2)
    localizer = Localizer.from_student(student)
    network = exported_program.PhotoToProbability(localizer).eval()
    exported_program.write_onnx(exported_program.exported(network), localizer, tmp_path / "forensic.onnx")
    photo = np.random.default_rng(0).integers(0, 256, (100, 90, 3), np.uint8)
    found = exported_program.compare(localizer, exported_program.onnx_session(tmp_path / "forensic.onnx"), [photo])
    assert found.difference < 1e-5


def test_pytorchs_own_program_answers_the_same(model, tmp_path):
    words = ["export", "--checkpoint", str(model), "--out", str(tmp_path / "student.pt2")]
    assert main(words) == 0
    assert main(words) == 0, "the same again is the same file"
    photo = torch.randint(0, 256, (3, 77, 120, 3), dtype=torch.uint8)
    program = torch.export.load(tmp_path / "student.pt2").module()
    with torch.no_grad():
        expected = exported_program.PhotoToProbability(Localizer.load(model))(photo)
    torch.testing.assert_close(program(photo)[0], expected[0])


@pytest.mark.parametrize(("out", "more"), [("student.pt", []), ("student", []), ("student.pt2", ["--int8", "photos"])])
def test_other_suffixes_are_refused(model, tmp_path, capsys, out, more):
    assert main(["export", "--checkpoint", str(model), "--out", str(tmp_path / out), *more]) == 2
    assert "the suffix chooses the format" in capsys.readouterr().err


@pytest.mark.parametrize("difference", [0.02, float("nan")])
def test_an_export_that_answers_differently_is_not_left_behind(model, tmp_path, capsys, monkeypatch, difference):
    class Other(exported_program.PhotoToProbability):
        def forward(self, photo):
            probability, score = super().forward(photo)
            return probability + difference, score

    monkeypatch.setattr(exported_program, "PhotoToProbability", Other)
    assert main(["export", "--checkpoint", str(model), "--out", str(tmp_path / "student.pt2")]) == 2
    assert f"differ from predict's by {difference:g}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_printed_is_how_masks_and_probabilities_differ(model):
    localizer = Localizer.load(model)
    localizer.threshold = 0.5
    photos = [np.full((10, 10, 3), level, np.uint8) for level in (0, 200)]
    truths = [np.zeros((10, 10), np.float32), np.pad(np.ones((10, 4), np.float32), ((0, 0), (0, 6)))]
    answers = [truths[0], np.roll(truths[1], 2, 1) * 0.75]
    localizer.localize = lambda asked: [truths[int(asked[0].max() > 0)]]
    found = exported_program.compare(
        localizer, lambda photo: [torch.from_numpy(answers[int(photo.max() > 0)])[None]], photos
    )
    assert (found.photos, found.difference) == (2, 1.0)
    assert found.f1 == pytest.approx((1 + 0.5) / 2)


def test_without_the_extra_it_says_what_to_install(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["export", "--checkpoint", str(model), "--out", str(tmp_path / "student.onnx")]) == 2
    assert "pip install 'boxpromptiml[export]'" in capsys.readouterr().err
