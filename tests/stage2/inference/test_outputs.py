"""Which results of an earlier run can be reused."""

import pytest

from stage2_distill.inference.outputs import Outputs, holds, pictures, state


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"pixels")
    return path


@pytest.fixture
def line(photo, tmp_path):
    """Prediction line of an earlier run, with its image files."""
    mask, overlay = pictures("photo", Outputs())
    for path in (mask, overlay):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    return {"mask": mask, "overlay": overlay, **state(photo)}


def test_an_unchanged_photo_keeps_its_line(photo, line, tmp_path):
    assert holds(line, photo, "photo", Outputs(), tmp_path)
    assert not holds(None, photo, "photo", Outputs(), tmp_path)
    assert not holds({**line, "reason": "broken"}, photo, "photo", Outputs(), tmp_path)


def test_a_different_photo_of_that_name_loses_its_line(photo, line, tmp_path):
    photo.write_bytes(b"other pixels")
    assert not holds(line, photo, "photo", Outputs(), tmp_path)
    photo.unlink()
    assert not holds(line, photo, "photo", Outputs(), tmp_path)


def test_a_line_is_reused_only_if_its_images_exist_and_are_requested(photo, line, tmp_path):
    assert not holds(line, photo, "photo", Outputs(overlays=False), tmp_path)
    (tmp_path / line["mask"]).unlink()
    assert not holds(line, photo, "photo", Outputs(), tmp_path)
