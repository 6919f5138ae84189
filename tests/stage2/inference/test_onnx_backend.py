"""The student in ONNX Runtime against PyTorch."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from boxpromptiml import Localizer
from boxpromptiml.cli import main
from boxpromptiml.core.records import InputError
from stage2_distill.inference import onnx_backend
from stage2_distill.inference.onnx_backend import OnnxNetwork
from stage2_distill.model.student import Student


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a small student with the same parts as the released one."""
    torch.manual_seed(0)
    parts = {"second_size": 48, "displacements": 2, "compare_copies": True, "shape_prior": True}
    student = Student("mobilenetv3_small_050", False, image_size=64, channels=16, prototypes=4, **parts)
    for last in (student.comparison.correction[-1], student.shape_prior.change, student.shape_prior.whole[-1]):
        torch.nn.init.normal_(last.weight, std=0.1)  # they start at zero, without effect
    folder = tmp_path_factory.mktemp("model")
    Localizer.from_student(student, 0.45).save(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Cache of converted students, shared by the tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_backend.pooch, "os_cache", lambda name: folder / name)
        yield folder


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((50, 70), (64, 64), (130, 20))]


@pytest.mark.parametrize("flips", [False, True])
def test_both_backends_give_the_same(model, photos, flips):
    in_pytorch, in_onnx = Localizer.load(model), Localizer.load(model, backend="onnx")
    for some in (photos, photos[:1]):
        both = in_onnx.localize_scored(some, flips), in_pytorch.localize_scored(some, flips)
        for ours, theirs in zip(*both, strict=True):
            assert np.abs(ours.probability - theirs.probability).max() < 1e-3
            assert ours.score == pytest.approx(theirs.score, abs=1e-3)


def test_a_student_is_converted_once(model, photos, monkeypatch, capsys):
    first = Localizer.load(model, backend="onnx").predict(photos[0])
    capsys.readouterr()
    monkeypatch.setattr(onnx_backend, "_converted", lambda network, side: pytest.fail("converted again"))
    again = Localizer.load(model, backend="onnx").predict(photos[0])
    assert np.array_equal(first.probability, again.probability)
    assert not capsys.readouterr().out


@pytest.fixture
def converted(model, cache, monkeypatch):
    """Replace conversion by a copy of an earlier result, to save time."""
    Localizer.load(model, backend="onnx")
    (path,) = cache.rglob("*.onnx")
    monkeypatch.setattr(onnx_backend, "_converted", lambda network, side: path.read_bytes())


def test_an_unwritable_cache_is_skipped(model, converted, photos, tmp_path, capsys):
    (tmp_path / "cache").write_text("in the way")
    localizer = Localizer.load(model)
    expected = localizer.predict(photos[0]).probability
    localizer.onnx = OnnxNetwork.of(localizer, 64, "student", tmp_path / "cache")
    assert "cannot be saved" in capsys.readouterr().out
    assert np.abs(localizer.predict(photos[0]).probability - expected).max() < 1e-3


def test_a_damaged_file_in_the_cache_is_replaced(model, converted, photos, tmp_path):
    localizer = Localizer.load(model)
    OnnxNetwork.of(localizer, 64, "student", tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    localizer.onnx = OnnxNetwork.of(localizer, 64, "student", tmp_path)
    assert path.read_bytes() == whole
    assert localizer.predict(photos[0]).mask.shape == (50, 70)


def test_a_conversion_with_different_results_is_refused(model, converted, tmp_path):
    localizer = Localizer.load(model)
    torch.nn.init.constant_(localizer.student.fusion.refine[-1].bias, 9.0)
    with pytest.raises(InputError, match="use the backend torch"):
        OnnxNetwork.of(localizer, 64, "student", tmp_path)


def test_predict_can_use_it_and_writes_the_same(model, photos, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photos[0]).save(path)
    masks = []
    for backend in ("torch", "onnx"):
        out = tmp_path / backend
        arguments = ["--checkpoint", str(model), "--images", str(path), "--out", str(out), "--backend", backend]
        assert main(["predict", *arguments]) == 0
        masks.append(np.asarray(Image.open(out / "masks/photo.png")).astype(int))
    assert np.abs(masks[0] - masks[1]).max() <= 1


def test_the_service_can_use_it(model, photos, monkeypatch):
    for needed in ("fastapi", "fastapi_offline", "uvicorn", "python_multipart"):
        pytest.importorskip(needed)
    from service_client import served

    from boxpromptiml.apps.serve import server, service
    from boxpromptiml.apps.serve.request_limits import RequestLimits

    loaded = []
    monkeypatch.setattr(service, "service", lambda localizer, *_: loaded.append(localizer))
    monkeypatch.setattr(server, "server", lambda *_: SimpleNamespace(run=lambda _: None))
    for backend in ("torch", "onnx"):
        assert main(["serve", "--checkpoint", str(model), "--port", "0", "--backend", backend]) == 0
    monkeypatch.undo()
    stream = io.BytesIO()
    Image.fromarray(photos[0]).save(stream, "PNG")
    answers = []
    for localizer in loaded:
        with served(localizer, RequestLimits()) as sender:
            answers.append(sender.photo(stream.getvalue()).content)
    assert [localizer.onnx is not None for localizer in loaded] == [False, True]
    assert answers[1]["score"] == pytest.approx(answers[0]["score"], abs=1e-3)
    assert answers[1]["mask"] == answers[0]["mask"]


def test_it_can_be_saved_in_half_precision(model, photos, tmp_path):
    Localizer.load(model, backend="onnx").save(tmp_path / "half", half=True)
    assert Localizer.load(tmp_path / "half").threshold == 0.45
