"""What still stands of an earlier run."""

import pytest

from stage2_distill.inference.outputs import Outputs, holds, pictures, state


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"pixels")
    return path


@pytest.fixture
def line(photo, tmp_path):
    """As an earlier run wrote it, with its pictures."""
    mask, overlay = pictures("photo", Outputs())
    for path in (mask, overlay):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    return {"mask": mask, "overlay": overlay, **state(photo)}


def test_a_photo_that_has_not_changed_keeps_its_line(photo, line, tmp_path):
    assert holds(line, photo, "photo", Outputs(), tmp_path)
    assert not holds(None, photo, "photo", Outputs(), tmp_path)
    assert not holds({**line, "reason": "broken"}, photo, "photo", Outputs(), tmp_path)


def test_another_photo_of_that_name_does_not(photo, line, tmp_path):
    photo.write_bytes(b"other pixels")
    assert not holds(line, photo, "photo", Outputs(), tmp_path)
    photo.unlink()
    assert not holds(line, photo, "photo", Outputs(), tmp_path)


def test_pictures_have_to_be_there_and_wanted(photo, line, tmp_path):
    assert not holds(line, photo, "photo", Outputs(overlays=False), tmp_path)
    (tmp_path / line["mask"]).unlink()
    assert not holds(line, photo, "photo", Outputs(), tmp_path)
