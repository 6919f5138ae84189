"""``boxpromptiml predict``: masks for new photos."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from boxpromptiml import Localizer
from boxpromptiml.cli import main
from boxpromptiml.runtime.processes import command_words
from stage2_distill.model.student import Student


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
        assert np.asarray(mask).max() / 255 <= item["score"] + 0.003  # resizing averages


def test_the_mask_is_the_probability_of_the_student(checkpoint, photos, tmp_path):
    run(checkpoint, photos / "a.png", tmp_path / "out")
    student = Student.from_checkpoint(checkpoint)
    photo = Image.open(photos / "a.png")
    small = torch.from_numpy(np.array(photo.resize((64, 64), Image.Resampling.BILINEAR))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        probability = torch.sigmoid(student(small).logits)
    expected = torch.nn.functional.interpolate(probability, (50, 70), mode="bilinear")[0, 0].numpy()
    found = np.asarray(Image.open(tmp_path / "out/masks/a.png")) / 255
    assert np.abs(found - expected).mean() < 0.005


def test_an_unreadable_photo_is_listed_and_the_rest_is_localized(checkpoint, photos, tmp_path, capsys):
    (photos / "bad.jpg").write_bytes(b"")
    assert run(checkpoint, photos, tmp_path / "out") == 3
    assert "bad.jpg: the file is empty" in capsys.readouterr().out
    content = json.loads((tmp_path / "out/predictions.json").read_text())
    assert len(content["images"]) == 4
    assert [item["file"] for item in content["set_aside"]] == [str(photos / "bad.jpg")]


def test_two_processes_write_what_one_writes(checkpoint, photos, tmp_path):
    run(checkpoint, photos, tmp_path / "one", "--accelerator", "cpu")
    arguments = ["predict", "--checkpoint", checkpoint, "--images", photos, "--out", tmp_path / "two"]
    command = command_words([*map(str, arguments), "--accelerator", "cpu"])
    subprocess.run([*command, "--devices", "2", "--workers", "0"], check=True, timeout=240)
    one, two = (json.loads((tmp_path / out / "predictions.json").read_text())["images"] for out in ("one", "two"))
    assert one == two
    for item in one:
        assert (tmp_path / "one" / item["mask"]).read_bytes() == (tmp_path / "two" / item["mask"]).read_bytes()


@pytest.fixture
def seen(monkeypatch):
    """Number of photos in each call of the student."""
    counts = []
    inner = Localizer.localize_scored
    monkeypatch.setattr(
        Localizer, "localize_scored", lambda self, p, **how: counts.append(len(p)) or inner(self, p, **how)
    )
    return counts


def test_an_interrupted_run_resumes(checkpoint, photos, tmp_path, monkeypatch):
    run(checkpoint, photos, tmp_path / "whole")
    inner, calls = Localizer.localize_scored, []

    def stopping(self, some, **how):
        if len(calls) >= 2:
            raise KeyboardInterrupt
        calls.append(len(some))
        return inner(self, some, **how)

    monkeypatch.setattr(Localizer, "localize_scored", stopping)
    assert run(checkpoint, photos, tmp_path / "out", "--batch_size", "1") == 130
    monkeypatch.setattr(
        Localizer, "localize_scored", lambda self, p, **how: calls.append(len(p)) or inner(self, p, **how)
    )
    assert run(checkpoint, photos, tmp_path / "out", "--batch_size", "1") == 0
    assert calls == [1, 1, 1, 1]
    for name in ("predictions.jsonl", "masks/deep/b.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_only_changed_photos_are_localized_again(checkpoint, photos, tmp_path, seen):
    run(checkpoint, photos, tmp_path / "out")
    seen.clear()
    assert run(checkpoint, photos, tmp_path / "out") == 0
    assert seen == []
    Image.new("RGB", (40, 30)).save(photos / "a.png")
    (tmp_path / "out/masks/c.jpg.png").unlink()
    run(checkpoint, photos, tmp_path / "out")
    assert sum(seen) == 2
    assert Image.open(tmp_path / "out/masks/a.png").size == (40, 30)
    seen.clear()
    assert run(checkpoint, photos, tmp_path / "out", "--threshold", "0.3") == 2  # predictions with another threshold
    assert seen == []
    run(checkpoint, photos, tmp_path / "out", "--threshold", "0.3", "--overwrite", "true")
    assert sum(seen) == 4


def test_output_lists_contain_only_the_photos_of_this_run(checkpoint, photos, tmp_path):
    run(checkpoint, photos, tmp_path / "out")
    (photos / "a.png").unlink()
    run(checkpoint, photos, tmp_path / "out")
    listed = json.loads((tmp_path / "out/predictions.json").read_text())["images"]
    assert str(photos / "a.png") not in [item["file"] for item in listed]
    assert len(listed) == 3


def test_lines_contain_the_results_of_the_library(checkpoint, photos, tmp_path):
    localizer = Localizer.from_student(Student.from_checkpoint(checkpoint), 0.45, "by hand")
    localizer.save(tmp_path / "model")
    run(tmp_path / "model", photos / "deep/b.jpg", tmp_path / "out")
    (line,) = (json.loads(line) for line in (tmp_path / "out/predictions.jsonl").open())
    found = localizer.predict(photos / "deep/b.jpg")
    assert line["score"] == pytest.approx(found.score)
    assert line["area"] == pytest.approx(found.mask.mean())
    assert [tuple(r["box_xyxy"]) for r in line["regions"]] == [r.box_xyxy for r in found.regions]
    assert json.loads((tmp_path / "out/predictions.json").read_text())["threshold"] == 0.45


def test_coco_masks_are_read_by_pycocotools(checkpoint, photos, tmp_path):
    arguments = (
        "--outputs.coco",
        "true",
        "--outputs.masks",
        "false",
        "--outputs.overlays",
        "false",
        "--threshold",
        ".4",
    )
    assert run(checkpoint, photos, tmp_path / "out", *arguments) == 0
    assert not (tmp_path / "out/masks").exists()
    coco = COCO(str(tmp_path / "out/coco.json"))
    localizer = Localizer.load(checkpoint)
    assert len(coco.imgs) == 4
    for image_id, image in coco.imgs.items():
        mask = localizer.predict(image["file_name"], threshold=0.4).mask
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        assert len(annotations) == mask.any()
        for annotation in annotations:
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
            assert annotation["area"] == mask.sum()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are not text")
def test_an_undecodable_file_name_can_be_written(checkpoint, photos, tmp_path):
    (photos / "a.png").rename(photos / os.fsdecode(b"caf\xe9.png"))
    (photos / "c.jpg").write_bytes(b"")
    (photos / "c.jpg").rename(photos / os.fsdecode(b"bad\xe9.jpg"))
    assert run(checkpoint, photos, tmp_path / "out") == 3
    content = json.loads((tmp_path / "out/predictions.json").read_text())
    assert "masks/caf\\xe9.png" in [item["mask"] for item in content["images"]]
    assert all((tmp_path / "out" / item["mask"]).exists() for item in content["images"])
    assert "bad\\xe9.jpg: the file is empty" in content["set_aside"][0]["reason"]


def test_one_process_on_the_cpu_does_not_import_lightning(checkpoint, photos, tmp_path):
    script = "import sys; from boxpromptiml.cli import main; main(sys.argv[1:]); print('lightning' in sys.modules)"
    words = ["predict", "--checkpoint", checkpoint, "--images", photos / "a.png", "--out", tmp_path / "out"]
    words += ["--accelerator", "cpu"]
    found = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "False"
