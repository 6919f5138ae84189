from pathlib import PurePosixPath

import pytest

from boxpromptiml.datasets.annotations.drawn import AnnotationError
from boxpromptiml.datasets.annotations.export_folder import new_folder, place_image, refuse_shared_names


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def stopped():
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".out.partial" / "left by a killed export").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "whole").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["out", "out/whole"]


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for out in (tmp_path / "full", tmp_path / "full" / "file"):
        with pytest.raises(AnnotationError, match="not an empty folder"), new_folder(out):
            pass


def test_images_are_linked_so_that_both_folders_may_move_or_copied(tmp_path, pictured):
    source = pictured(tmp_path / "before" / "set", "a.jpg") / "a.jpg"
    place_image(source, tmp_path / "before" / "linked" / "deep" / "a.jpg", copy=False)
    place_image(source, tmp_path / "before" / "copied" / "a.jpg", copy=True)
    (tmp_path / "before").rename(tmp_path / "after")
    linked, copied = (tmp_path / "after" / name for name in ("linked/deep/a.jpg", "copied/a.jpg"))
    assert linked.is_symlink()
    assert not copied.is_symlink()
    assert linked.read_bytes() == copied.read_bytes() == (tmp_path / "after" / "set" / "a.jpg").read_bytes()
    with pytest.raises(AnnotationError, match=r"gone\.jpg: no such file"):
        place_image(tmp_path / "gone.jpg", tmp_path / "out" / "gone.jpg", copy=False)


def test_images_that_only_their_suffix_tells_apart_are_refused():
    refuse_shared_names(PurePosixPath(name) for name in ("a.jpg", "x/a.png", "a.b.jpg"))
    with pytest.raises(AnnotationError, match="x/a: two images"):
        refuse_shared_names(PurePosixPath(name) for name in ("x/a.jpg", "x/a.png"))
