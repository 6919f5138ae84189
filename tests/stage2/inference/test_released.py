"""The packaged student: small, correctly described, used by default, and able to find forgeries."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxpromptiml import Localizer
from boxpromptiml.apps.web_app.example_photo import forged_photo
from boxpromptiml.cli import main
from boxpromptiml.images import read_mask
from boxpromptiml.runtime.provenance import file_sha256
from stage2_distill.inference import released
from stage2_distill.inference.localizer import load_named
from stage2_distill.model.student import Student, count_macs, count_parameters

ROOT = Path(__file__).resolve().parents[3]


def f1(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


@pytest.fixture(scope="module")
def localizer():
    return Localizer.load()


def test_it_is_small_enough_for_a_package_and_for_the_published_budget(localizer):
    assert (released.FOLDER / "model.safetensors").stat().st_size <= 8e6
    assert count_parameters(localizer.student) <= 5.5e6
    student = Student(**localizer.student.arguments | {"image_size": 224, "second_size": 168}, pretrained=False)
    assert count_macs(student) <= 1.4e9


def test_its_card_and_the_documentation_agree(localizer):
    card = (released.FOLDER / "README.md").read_text()
    facts = json.loads((released.FOLDER / "config.json").read_text())
    assert f"{facts['threshold']:g}" in card
    assert facts["calibration"] in card
    assert file_sha256(released.FOLDER / "model.safetensors") in card
    for words in ("trained on", "terms", "misses"):
        assert re.search(words, card, re.IGNORECASE), words
    assert f"`{localizer.weights_sha256()}`" in (ROOT / "MODEL_CARD.md").read_text()


def test_its_files_are_world_readable():
    for file in released.FOLDER.iterdir():
        assert file.stat().st_mode & 0o444 == 0o444, file


def test_it_finds_the_forgery_of_the_example_photo(localizer):
    photo, truth = forged_photo()
    mask = localizer.predict(photo).mask
    assert f1(mask, truth) > 0.5


@pytest.fixture(params=["released", "demo"])
def trained(request, localizer):
    """The released student, and the one that `make demo` left in this checkout."""
    if request.param == "released":
        return localizer
    checkpoint = ROOT / "runs/demo/fit/checkpoints/best.ckpt"
    if not checkpoint.is_file():
        pytest.skip("no demo here; `make demo` trains its student")
    return load_named(str(checkpoint))


def test_it_and_the_student_of_the_demo_beat_trivial_masks_on_real_forgeries(lab, trained):
    folder = lab / "forgeries" / "casia1"
    scores = []
    for photo in sorted((folder / "images").iterdir())[::6]:
        truth = read_mask(folder / "masks" / f"{photo.stem}.png")
        everything, centre = np.ones_like(truth), np.zeros_like(truth)
        height, width = truth.shape
        centre[height // 4 : -(height // 4), width // 4 : -(width // 4)] = True
        scores.append([f1(mask, truth) for mask in (trained.predict(photo).mask, everything, centre)])
    found, *trivial = np.mean(scores, axis=0)
    assert found > max(trivial)


def test_predict_uses_it_by_default_and_says_so(tmp_path, capsys):
    Image.fromarray(forged_photo()[0]).save(tmp_path / "photo.png")
    words = ["--images", str(tmp_path / "photo.png"), "--out", str(tmp_path / "found"), "--workers", "0"]
    assert main(["predict", *words, "--accelerator", "cpu"]) == 0
    assert "student: the released one, which comes with the package" in capsys.readouterr().out
    line = json.loads((tmp_path / "found/predictions.jsonl").read_text().splitlines()[-1])
    assert line["score"] > 0.5
