"""The loop over photos: calls of the student, and written files."""

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from PIL import Image

from boxpromptiml import Localizer
from boxpromptiml.core.records import InputError
from boxpromptiml.images import ImageError
from stage2_distill.inference.engine import localize_photos
from stage2_distill.inference.outputs import Outputs
from stage2_distill.inference.prediction_log import merge, open_log
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
    """Localize one photo; return its prediction line and its mask."""
    settings = {"threshold": 0.5, "tiled": False, "flips": False, **how}
    with open_log(out, settings, False):
        fabric = Fabric(accelerator="cpu", devices=1)
        localize_photos(fabric, localizer, {photo: photo.stem}, out, outputs or Outputs(), settings, batch_size, 0)
        (line,) = merge(out)
    return line, np.asarray(Image.open(out / line["mask"])) / 255


def test_tiled_results_equal_those_of_the_library(localizer, photo, tmp_path, monkeypatch):
    expected = localizer.predict(photo, tiled=True).probability
    inner, asked = Localizer.localize_scored, []
    monkeypatch.setattr(
        Localizer, "localize_scored", lambda self, p, **how: asked.append(len(p)) or inner(self, p, **how)
    )
    _, mask = localized(localizer, photo, tmp_path / "out", batch_size=2, tiled=True)
    assert max(asked) == 2
    assert np.abs(mask - expected).max() < 0.003


def test_flip_averaged_results_equal_those_of_the_library(localizer, photo, tmp_path):
    _, mask = localized(localizer, photo, tmp_path / "out", flips=True)
    assert np.abs(mask - localizer.predict(photo, flips=True).probability).max() < 0.003


def test_disabled_images_are_not_written(localizer, photo, tmp_path):
    line, _ = localized(localizer, photo, tmp_path / "out", Outputs(overlays=False))
    assert line["overlay"] is None
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["masks"]


def test_regions_are_found_on_request(localizer, photo, tmp_path):
    line, _ = localized(localizer, photo, tmp_path / "with", threshold=0.0)
    assert len(line["regions"]) == 1
    line, _ = localized(localizer, photo, tmp_path / "without", Outputs(regions=False), threshold=0.0)
    assert "regions" not in line


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 3), (3, 2)])
def test_threads_and_batches_change_nothing(localizer, tmp_path, batch_size, workers):
    rng = np.random.default_rng(2)
    names = {}
    for number in range(8):
        path = tmp_path / f"{number}.png"
        shape = (20 + 9 * number, 60 - 5 * number, 3)
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(path)
        names[path] = path.stem
    settings = {"threshold": 0.5, "tiled": False, "flips": False}
    before, lines = torch.get_num_threads(), []
    for out, how in (("one", (1, 1)), ("many", (batch_size, workers))):
        with open_log(tmp_path / out, settings, False):
            fabric = Fabric(accelerator="cpu", devices=1)
            localize_photos(fabric, localizer, names, tmp_path / out, Outputs(), settings, *how)
            lines.append(merge(tmp_path / out))
    assert torch.get_num_threads() == before
    for one, many in zip(*lines, strict=True):
        assert one["file"] == many["file"]
        assert one["score"] == pytest.approx(many["score"], abs=1e-4)
        masks = [np.asarray(Image.open(tmp_path / out / one["mask"])).astype(int) for out in ("one", "many")]
        assert np.abs(masks[0] - masks[1]).max() <= 1


def test_an_error_ends_the_run_and_keeps_finished_lines(localizer, photo, tmp_path):
    names = {photo: "photo", photo.with_name("other.png"): "other"}
    (tmp_path / "other.png").write_bytes(photo.read_bytes())
    settings = {"threshold": 0.5, "tiled": False, "flips": False}
    out = tmp_path / "out"
    (out / "masks/other.png").mkdir(parents=True)  # a folder in place of a mask
    with pytest.raises(ImageError, match="cannot be written"), open_log(out, settings, True):
        localize_photos(Fabric(accelerator="cpu", devices=1), localizer, names, out, Outputs(), settings, 1, 1)
    assert [line["file"] for line in merge(out)] == [str(photo)]


def test_pictures_of_an_earlier_photo_are_not_replaced(localizer, photo, tmp_path, monkeypatch):
    out = tmp_path / "out"
    line, mask = localized(localizer, photo, out)
    other = tmp_path / "other" / photo.name
    other.parent.mkdir()
    Image.new("RGB", (40, 30)).save(other)
    with pytest.raises(InputError, match=rf"belongs to {photo}, which was localized earlier"):
        localized(localizer, other, out)
    np.testing.assert_array_equal(np.asarray(Image.open(out / line["mask"])) / 255, mask)
    monkeypatch.chdir(tmp_path)  # the same photo by another path
    settings = {"threshold": 0.5, "tiled": False, "flips": False}
    relative = photo.relative_to(tmp_path)
    with open_log(out, settings, False):
        fabric = Fabric(accelerator="cpu", devices=1)
        localize_photos(fabric, localizer, {relative: photo.stem}, out, Outputs(), settings, 8, 0)
        assert len({entry["mask"] for entry in merge(out)}) == 1
