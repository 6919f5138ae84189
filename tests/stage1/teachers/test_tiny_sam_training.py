"""Training of the small network is reproducible."""

import numpy as np
import pytest
import torch

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import write_manifest
from stage1_pseudomask.teachers import sam_weights
from stage1_pseudomask.teachers.tiny_sam import tiny_sam
from stage1_pseudomask.teachers.tiny_sam_training import train


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Bright squares on noise, at sizes other than the input size of the network."""
    folder, rng, records = tmp_path_factory.mktemp("squares"), np.random.default_rng(0), []
    for i, (width, height) in enumerate([(96, 64), (50, 80), (300, 300)]):
        photo = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width), bool)
        mask[10:40, 8:44] = True
        photo[mask] += 130
        images.write_photo(folder / f"{i}.png", photo)
        images.write_mask(folder / f"{i}_mask.png", mask)
        boxes = as_boxes([(6, 6, 46, 42)])
        path, mask_path = folder / f"{i}.png", folder / f"{i}_mask.png"
        records.append(ImageRecord(i + 1, path, width, height, boxes, "train", "squares", mask_path))
    write_manifest(folder / "manifest.json", records)
    return folder / "manifest.json"


def test_training_is_deterministic_and_writes_weights_that_load(squares, tmp_path):
    written = []
    for name in ("one.pth", "two.pth"):
        assert train(squares, tmp_path / name, steps=3, batch_size=2) == 0
        written.append(sam_weights.build("tiny", tmp_path / name).state_dict())
    assert all(torch.equal(weight, written[1][name]) for name, weight in written[0].items())
    start = tiny_sam().state_dict()
    assert any(not torch.equal(weight, start[name]) for name, weight in written[0].items())
    assert all(weight.isfinite().all() for weight in written[0].values())
