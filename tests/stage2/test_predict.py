"""Masks for new photos."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from boxpromptiml.cli import main
from stage2_distill.student import Student


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    student = Student("mobilenetv3_small_050", pretrained=False, image_size=64, channels=16, prototypes=4)
    path = tmp_path_factory.mktemp("weights") / "best.ckpt"
    weights = {f"student.{name}": value for name, value in student.state_dict().items()}
    torch.save({"student": student.arguments, "state_dict": weights}, path)
    return path


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in (
        ("a.png", (50, 70, 3)),
        ("deep/b.jpg", (33, 20, 3)),
        ("c.jpg", (9, 9, 3)),
        ("c.png", (8, 8, 3)),
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def run(checkpoint, given, out, *more):
    return main(["predict", "--checkpoint", str(checkpoint), "--images", str(given), "--out", str(out), *more])


def test_a_folder_gives_masks_of_the_photos_own_size(checkpoint, photos, tmp_path):
    assert run(checkpoint, photos, tmp_path / "out") == 0
    listed = json.loads((tmp_path / "out/predictions.json").read_text())["images"]
    assert [item["mask"] for item in listed] == [
        "masks/a.png",
        "masks/c.jpg.png",
        "masks/c.png.png",
        "masks/deep/b.png",
    ]
    for item in listed:
        photo, mask, overlay = (
            Image.open(p) for p in (item["file"], *(tmp_path / "out" / item[k] for k in ("mask", "overlay")))
        )
        assert mask.mode == "L"
        assert photo.size == mask.size == overlay.size
        assert np.asarray(mask).max() / 255 == pytest.approx(item["score"], abs=0.003)


def test_the_mask_is_the_students_probability(checkpoint, photos, tmp_path):
    run(checkpoint, photos / "a.png", tmp_path / "out")
    student = Student.from_checkpoint(checkpoint)
    photo = Image.open(photos / "a.png")
    small = torch.from_numpy(np.array(photo.resize((64, 64), Image.Resampling.BILINEAR))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        probability = torch.sigmoid(student(small).logits)
    expected = torch.nn.functional.interpolate(probability, (50, 70), mode="bilinear")[0, 0].numpy()
    found = np.asarray(Image.open(tmp_path / "out/masks/a.png")) / 255
    assert np.abs(found - expected).mean() < 0.005


def test_an_unreadable_photo_is_listed_and_the_rest_goes_on(checkpoint, photos, tmp_path, capsys):
    (photos / "bad.jpg").write_bytes(b"")
    assert run(checkpoint, photos, tmp_path / "out") == 3
    assert "bad.jpg: the file is empty" in capsys.readouterr().out
    content = json.loads((tmp_path / "out/predictions.json").read_text())
    assert len(content["images"]) == 4
    assert [item["file"] for item in content["set_aside"]] == [str(photos / "bad.jpg")]


def test_two_processes_write_what_one_writes(checkpoint, photos, tmp_path):
    import subprocess
    import sys

    for out, devices in (("one", "1"), ("two", "2")):
        arguments = ["predict", "--checkpoint", checkpoint, "--images", photos, "--out", tmp_path / out]
        command = [sys.executable, "-m", "boxpromptiml.cli", *map(str, arguments), "--accelerator", "cpu"]
        subprocess.run([*command, "--devices", devices, "--workers", "0"], check=True, timeout=120)
    one, two = (json.loads((tmp_path / out / "predictions.json").read_text())["images"] for out in ("one", "two"))
    assert one == two
    for item in one:
        assert (tmp_path / "one" / item["mask"]).read_bytes() == (tmp_path / "two" / item["mask"]).read_bytes()
