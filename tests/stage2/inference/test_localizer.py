"""The Python API: localizing a photo in one call, and which models can be loaded."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from boxpromptiml import Localizer
from boxpromptiml.core.records import InputError
from boxpromptiml.images import ImageError
from stage2_distill.model.student import Student, WeightsError


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return Student("mobilenetv3_small_050", pretrained=False, image_size=64, channels=16, prototypes=4).eval()


@pytest.fixture(scope="module")
def saved(student, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "mine"
    Localizer.from_student(student, 0.4, "by hand").save(folder)
    return folder


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_importing_the_package_does_not_load_torch():
    script = (
        "import sys, boxpromptiml; print('torch' in sys.modules); boxpromptiml.Localizer; print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "True"]


def test_one_line_gives_mask_score_and_regions(saved, student, photo):
    found = Localizer.load(saved).predict(photo)
    shrunk = np.array(Image.open(photo).resize((64, 64), Image.Resampling.BILINEAR))
    with torch.no_grad():
        small = torch.sigmoid(student(torch.from_numpy(shrunk).permute(2, 0, 1)[None] / 255).logits)
    expected = torch.nn.functional.interpolate(small, (50, 70), mode="bilinear")[0, 0].numpy()
    assert np.abs(found.probability - expected).mean() < 1e-3
    assert np.array_equal(found.mask, found.probability > 0.4)
    assert found.score == pytest.approx(small.max().item(), abs=1e-3)
    for x1, y1, x2, y2 in (region.box_xyxy for region in found.regions):
        assert 0 <= x1 < x2 <= 70
        assert 0 <= y1 < y2 <= 50
        assert all(side == int(side) for side in (x1, y1, x2, y2))
    assert sum(region.area for region in found.regions) <= found.mask.sum()


def test_photos_of_several_sizes_give_one_array_each(saved, photo):
    localizer, photos = Localizer.load(saved), [np.array(Image.open(photo)), np.zeros((30, 20, 3), np.uint8)]
    for flips in (False, True):
        maps, scored = localizer.localize(photos, flips), localizer.localize_scored(photos, flips)
        assert [found.shape for found in maps] == [(50, 70), (30, 20)]
        assert all(np.array_equal(found, other.probability) for found, other in zip(maps, scored, strict=True))
        for given, found in zip(photos, scored, strict=True):
            assert localizer.predict(given, flips=flips).score == pytest.approx(found.score, abs=1e-5)


def test_a_saved_localizer_is_loaded_unchanged(saved, student, photo):
    first, second = Localizer.from_student(student, 0.4, "by hand"), Localizer.load(str(saved))
    assert second.threshold == 0.4
    assert second.calibration == "by hand"
    assert not second.training
    assert np.array_equal(first.predict(photo).probability, second.predict(photo).probability)
    assert {path.name for path in saved.iterdir()} == {"README.md", "config.json", "model.safetensors"}


def test_saving_writes_a_model_card_and_keeps_an_edited_one(student, saved, tmp_path):
    card = (saved / "README.md").read_text()
    assert "library_name: boxpromptiml" in card
    assert "| mobilenetv3_small_050 |" in card
    assert "| 0.4 |" in card
    assert "by hand" in card
    assert "2511.20359" in card
    (tmp_path / "README.md").write_text("mine")
    Localizer.from_student(student).save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert Localizer.load(tmp_path).threshold == 0.5


def test_the_card_reads_well_without_optional_facts(student):
    assert "see config.json" in str(Localizer.from_student(student).generate_model_card())


def test_a_training_checkpoint_can_be_loaded_too(student, photo, tmp_path):
    weights = {f"student.{name}": value for name, value in student.state_dict().items()}
    torch.save({"student": student.arguments, "state_dict": weights}, tmp_path / "best.ckpt")
    loaded = Localizer.load(tmp_path / "best.ckpt")
    assert loaded.threshold == 0.5
    assert np.array_equal(loaded.predict(photo).probability, Localizer.from_student(student).predict(photo).probability)


def test_a_photo_in_memory_gives_the_same_as_its_file(saved, photo):
    localizer = Localizer.load(saved)
    pixels = np.array(Image.open(photo))
    for given in (pixels, Image.open(photo), photo.read_bytes()):
        assert np.array_equal(localizer.predict(given).probability, localizer.predict(photo).probability)
    with pytest.raises(ImageError, match=r"an array \(50, 70\) of float64; .* uint8"):
        localizer.predict(pixels[..., 0] / 255)


def test_a_threshold_in_per_cent_is_refused(saved, photo):
    with pytest.raises(InputError, match=r"threshold is 50; .* such as 0\.5 for 50 %"):
        Localizer.load(saved).predict(photo, threshold=50)


def test_tiles_use_the_photo_at_its_original_resolution(saved):
    localizer = Localizer.load(saved)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = localizer.predict(pixels).probability
    np.testing.assert_allclose(localizer.predict(pixels, tiled=True).probability, whole, atol=1e-6)
    large = localizer.predict(np.tile(pixels, (3, 2, 1)), tiled=True)
    assert large.probability.shape == (192, 128)


@pytest.mark.parametrize("tiled", [False, True])
def test_flips_average_the_predictions_of_mirrored_photos(saved, tiled):
    localizer = Localizer.load(saved)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    views = [np.ascontiguousarray(view) for view in (pixels, pixels[:, ::-1], pixels[::-1])]
    plain, mirrored, upside_down = (localizer.predict(view).probability for view in views)
    expected = (plain + mirrored[:, ::-1] + upside_down[::-1]) / 3
    averaged = localizer.predict(pixels, tiled=tiled, flips=True).probability
    np.testing.assert_allclose(averaged, expected, atol=1e-6)
    assert np.abs(averaged - plain).max() > 1e-4


@pytest.mark.parametrize("content", [b"", b"not weights", pickle.dumps({"student.mean": print})])
def test_invalid_weights_are_refused_and_never_executed(saved, tmp_path, content):
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="not a folder of a saved localizer"):
        Localizer.load(tmp_path)


def other(config, **changes):
    return {**config, "student": {**config["student"], **changes}}


@pytest.mark.parametrize(
    "change",
    [
        lambda config: other(config, backbone="hf-hub:stranger/network"),
        lambda config: other(config, backbone=None),
        lambda config: other(config, channels=32),
        lambda config: other(config, unheard_of=1),
        lambda config: {**config, "threshold": 7},
        lambda config: {"threshold": 0.5},
        lambda config: [],
    ],
)
def test_an_invalid_config_is_refused_in_one_line(saved, tmp_path, change):
    (tmp_path / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(change(json.loads((saved / "config.json").read_text()))))
    with pytest.raises(WeightsError, match="not a folder of a saved localizer") as refused:
        Localizer.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_weights_that_lack_a_tensor_are_refused(saved, tmp_path):
    tensors = load_file(saved / "model.safetensors")
    tensors.pop("student.fusion.base.weight")
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    with pytest.raises(WeightsError, match="not a folder of a saved localizer"):
        Localizer.load(tmp_path)


@pytest.mark.parametrize("source", ["nowhere.ckpt", "runs/nowhere.ckpt", "a/b/c", "../up", "https://example.com/x"])
def test_an_invalid_model_path_is_refused_without_contacting_the_hub(source, monkeypatch):
    monkeypatch.setattr(Localizer, "from_pretrained", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(WeightsError, match="no such checkpoint"):
        Localizer.load(source)


def test_a_hub_id_is_downloaded_through_the_hub_library(saved, photo, monkeypatch):
    asked = []

    def download(repo_id, filename, **_):
        asked.append((repo_id, filename))
        return str(saved / filename)

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    found = Localizer.load("somebody/students").predict(photo)
    assert asked == [("somebody/students", "config.json"), ("somebody/students", "model.safetensors")]
    assert np.array_equal(found.probability, Localizer.load(saved).predict(photo).probability)


def test_an_unreachable_hub_is_reported_in_one_line(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", offline)
    with pytest.raises(WeightsError, match=r"somebody/students: .*no route to host"):
        Localizer.load("somebody/students")


def test_a_batch_takes_photos_in_any_form(saved, photo):
    localizer, pixels = Localizer.load(saved), np.asarray(Image.open(photo))
    transparent = np.dstack([pixels, np.full(pixels.shape[:2], 40, np.uint8)])
    first, *others = localizer.localize([pixels, transparent, photo, Image.open(photo)])
    for found in others:
        np.testing.assert_allclose(found, first, atol=1e-5)
    assert localizer.localize([]) == []
    with pytest.raises(ImageError, match="an array"):
        localizer.localize([pixels / 255])
