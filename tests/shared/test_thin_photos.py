"""Photos one pixel wide or high, in every command: each is used or skipped with a reason, and affects nothing else."""

import json

import numpy as np
import pytest
import torch

from boxpromptiml import images
from boxpromptiml.apps.web_app.teacher_preview import Previewer
from boxpromptiml.cli import main
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.datasets.check.command import check
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.shards import read_index
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers.grabcut import GrabCut
from stage1_pseudomask.teachers.sam import SegmentAnything
from stage2_distill.data.degradations import Levels
from stage2_distill.data.test_set import ScoredDataset

SHAPES = {"flat": (1, 600), "narrow": (600, 1), "dot": (1, 1), "usual": (48, 64)}
"""Name → (height, width)."""


@pytest.fixture
def records(tmp_path):
    """One record per shape with a part of the image marked; the single pixel is authentic."""
    found = []
    for image_id, (name, (height, width)) in enumerate(SHAPES.items(), start=1):
        pixels = np.random.default_rng(image_id).integers(0, 256, (height, width, 3), np.uint8)
        images.write_photo(tmp_path / f"photos/{name}.png", pixels)
        mask = np.zeros((height, width), bool)
        mask[: max(1, height // 2), : max(1, width // 2)] = True
        authentic = name == "dot"
        boxes = as_boxes([] if authentic else [(0, 0, mask.any(0).sum(), mask.any(1).sum())])
        if not authentic:
            images.write_mask(tmp_path / f"masks/{name}.png", mask)
        path, mask_path = tmp_path / f"photos/{name}.png", None if authentic else tmp_path / f"masks/{name}.png"
        found.append(ImageRecord(image_id, path, width, height, boxes, "test", "set", mask_path, authentic))
    return found


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()


@pytest.fixture
def manifest(records, tmp_path):
    write_manifest(tmp_path / "set.json", records)
    return tmp_path / "set.json"


def test_prepare_and_check_accept_them(manifest, tmp_path, capsys):
    (tmp_path / "photos/dot.png").rename(tmp_path / "dot.png")
    words = ["--images", str(tmp_path / "photos"), "--masks", str(tmp_path / "masks"), "--workers", "1"]
    assert main(["prepare", *words, "--out", str(tmp_path / "again.json")]) == 0
    (tmp_path / "dot.png").rename(tmp_path / "photos/dot.png")
    assert check(manifest, workers=1) == 0, capsys.readouterr().out


@pytest.mark.parametrize("tiled", ["false", "true"])
def test_predict_localizes_them_at_their_own_size(records, localizer, tmp_path, tiled):
    localizer.save(tmp_path / "model")
    words = ["--checkpoint", str(tmp_path / "model"), "--images", str(tmp_path / "photos"), "--tiled", tiled]
    assert main(["predict", *words, "--out", str(tmp_path / "out"), "--workers", "0", "--accelerator", "cpu"]) == 0
    for name, (height, width) in SHAPES.items():
        assert images.read_size(tmp_path / f"out/masks/{name}.png") == (width, height)


def test_a_photo_longer_than_a_jpeg_can_be_does_not_stop_predict(localizer, tmp_path):
    images.write_photo(tmp_path / "photos/long.png", np.zeros((1, 70_000, 3), np.uint8))
    images.write_photo(tmp_path / "photos/usual.png", np.zeros((48, 64, 3), np.uint8))
    localizer.save(tmp_path / "model")
    words = ["--checkpoint", str(tmp_path / "model"), "--images", str(tmp_path / "photos"), "--workers", "0"]
    assert main(["predict", *words, "--out", str(tmp_path / "out"), "--accelerator", "cpu"]) == 0
    assert images.read_size(tmp_path / "out/masks/long.png") == (70_000, 1)
    assert len(json.loads((tmp_path / "out/predictions.json").read_text())["images"]) == 2


@pytest.mark.parametrize("degradation", [None, *Levels(noise_variance=(9,)).degradations()], ids=str)
def test_every_degradation_leaves_something_to_score(records, degradation):
    dataset = ScoredDataset(records, 32, degradation)
    for record, item in zip(records, (dataset[i] for i in range(len(records))), strict=True):
        assert item["problem"] == ""
        assert item["truth"].any() == (not record.authentic)


@pytest.mark.parametrize(("teacher", "aside"), [(GrabCut(), []), (SegmentAnything("tiny"), [1, 2])])
def test_stage_one_processes_the_others(manifest, tmp_path, teacher, aside):
    code = pseudomasks(manifest, tmp_path / "cache", teacher, size=32, workers=0, accelerator="cpu", devices=1)
    index = read_index(tmp_path / "cache")
    assert [item.image_id for item in index.set_aside] == aside
    assert all("too thin for SAM" in item.reason for item in index.set_aside)
    assert (code, index.samples) == (3 if aside else 0, 4 - len(aside))


def test_the_web_app_opens_them_or_gives_a_reason(records):
    for teacher in (GrabCut(), SegmentAnything("tiny")):
        previewer = Previewer(teacher)
        for record in records:
            if isinstance(teacher, SegmentAnything) and record.image_id in (1, 2):
                with pytest.raises(InputError, match="too thin for SAM"):
                    previewer.open(record.path)
                continue
            opened = previewer.open(record.path)
            boxes = as_boxes([(0, 0, record.width, record.height)])
            mask, score = previewer.pseudo_mask(opened, boxes)
            assert mask.shape == opened.shown.shape[:2]
            assert 0 <= score <= 1


def test_scores_use_area_averaging_as_predict_does():
    """A probability map at the size of the student, resized to ground truth one pixel high."""
    from boxpromptiml.scoring.protocol import Scoring
    from stage2_distill.evaluation.metrics import COLUMNS, ImageScores

    probability = torch.zeros(32, 32)
    probability[:8] = 1
    truth = torch.zeros(1, 600, dtype=torch.bool)
    truth[0, :300] = True
    board = ImageScores(Scoring())
    board.update(0, 0, probability, truth)
    row = dict(zip(COLUMNS, board.compute()[0].tolist(), strict=True))
    assert row["image_score"] == pytest.approx(0.25)
    assert images.resize_probability(probability.numpy(), 600, 1).max() == pytest.approx(0.25)
