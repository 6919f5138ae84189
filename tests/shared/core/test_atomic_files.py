import os

import pytest

from boxpromptiml.core.atomic_files import atomic_folder, atomic_path, write_whole


def test_a_file_appears_under_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "scores.md"
    with atomic_path(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_an_error_only_the_old_file_is_there(tmp_path, error):
    path = tmp_path / "scores.md"
    write_whole(path, b"old")

    def write_half():
        with atomic_path(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_synced_before_the_rename(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    path = tmp_path / "scores.md"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_replaced_and_never_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("kept")
    path = tmp_path / "scores.md"
    path.symlink_to(secret)
    (tmp_path / ".scores.md.partial").symlink_to(secret)
    write_whole(path, b"new")
    assert secret.read_text() == "kept"
    assert path.read_text() == "new"
    assert not path.is_symlink()


def test_a_folder_appears_under_its_name_when_it_is_complete(tmp_path):
    out = tmp_path / "out"

    def write_half():
        with atomic_folder(out) as partial:
            (partial / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert not list(tmp_path.iterdir())
    with atomic_folder(out) as partial:
        (partial / "whole").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in out.iterdir()] == ["whole"]
