"""The loop over photos: what the student is asked, and what is written."""

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from PIL import Image

from boxpromptiml import Localizer
from stage2_distill.inference.engine import localize_photos
from stage2_distill.inference.outputs import Outputs
from stage2_distill.inference.prediction_log import merge, take_up
from stage2_distill.model.student import Student


@pytest.fixture(scope="module")
def localizer():
    torch.manual_seed(0)
    return Localizer.from_student(Student("mobilenetv3_small_050", False, image_size=64, channels=16, prototypes=4))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (150, 130, 3), dtype=np.uint8)).save(path)
    return path


def localized(localizer, photo, out, outputs=None, batch_size=8, **how):
    """The line of a photo, and its mask."""
    settings = {"threshold": 0.5, "tiled": False, "flips": False, **how}
    with take_up(out, settings, False):
        fabric = Fabric(accelerator="cpu", devices=1)
        localize_photos(fabric, localizer, {photo: photo.stem}, out, outputs or Outputs(), settings, batch_size, 0)
        (line,) = merge(out)
    return line, np.asarray(Image.open(out / line["mask"])) / 255


def test_tiles_are_those_of_the_library(localizer, photo, tmp_path, monkeypatch):
    expected = localizer.predict(photo, tiled=True).probability
    localize, asked = Localizer.localize, []
    monkeypatch.setattr(Localizer, "localize", lambda self, p, **how: asked.append(len(p)) or localize(self, p, **how))
    _, mask = localized(localizer, photo, tmp_path / "out", batch_size=2, tiled=True)
    assert max(asked) == 2
    assert np.abs(mask - expected).max() < 0.003


def test_flips_are_those_of_the_library(localizer, photo, tmp_path):
    _, mask = localized(localizer, photo, tmp_path / "out", flips=True)
    assert np.abs(mask - localizer.predict(photo, flips=True).probability).max() < 0.003


def test_pictures_that_nobody_wants_are_not_written(localizer, photo, tmp_path):
    line, _ = localized(localizer, photo, tmp_path / "out", Outputs(overlays=False))
    assert line["overlay"] is None
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["masks"]
