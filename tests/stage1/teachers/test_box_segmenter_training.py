"""Training of the box segmenter is reproducible, and learns."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import write_manifest
from stage1_pseudomask.teachers.box_network import BoxNetwork
from stage1_pseudomask.teachers.box_segmenter_training import train


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Two photos with a bright square."""
    folder, rng, records = tmp_path_factory.mktemp("squares"), np.random.default_rng(0), []
    for i in range(2):
        photo, mask = rng.integers(0, 90, (80, 100, 3), dtype=np.uint8), np.zeros((80, 100), bool)
        mask[20:50, 30:70] = True
        photo[mask] += 130
        images.write_photo(folder / f"{i}.png", photo)
        images.write_mask(folder / f"{i}_mask.png", mask)
        boxes, mask_path = as_boxes([(28, 18, 72, 52)]), folder / f"{i}_mask.png"
        records.append(ImageRecord(i + 1, folder / f"{i}.png", 100, 80, boxes, "train", "squares", mask_path))
    write_manifest(folder / "manifest.json", records)
    return folder / "manifest.json"


def test_training_is_deterministic_and_goes_on_from_its_weights(squares, tmp_path):
    how = {"manifests": {squares: 1.0}, "pretrained": False, "batch_size": 2, "workers": 0}
    for name in ("one", "two"):
        assert train(tmp_path / name, steps=2, **how) == 0
    one, two = load_file(tmp_path / "one"), load_file(tmp_path / "two")
    assert all(torch.equal(weight, two[name]) for name, weight in one.items())
    assert all(weight.isfinite().all() for weight in one.values())
    train(tmp_path / "more", steps=1, start=tmp_path / "one", **how)
    more = load_file(tmp_path / "more")
    assert torch.equal(more["stem.weight"], one["stem.weight"])  # frozen
    assert not torch.equal(more["out.weight"], one["out.weight"])
    assert set(more) == set(BoxNetwork().state_dict())
