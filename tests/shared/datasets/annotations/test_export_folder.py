from pathlib import PurePosixPath

import pytest

from boxpromptiml.datasets.annotations.drawn import AnnotationError
from boxpromptiml.datasets.annotations.export_folder import export_folder, place_image, refuse_shared_names
from boxpromptiml.runtime.provenance import OtherResultsError


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def stopped():
        with export_folder(tmp_path / "out") as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".out.partial" / "left by a killed export").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    with export_folder(tmp_path / "out") as folder:
        (folder / "whole").touch()
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert names == {"out", "out/whole", "out/.exported.json"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_not_an_export_is_never_touched(tmp_path, overwrite):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for out in (tmp_path / "full", tmp_path / "full" / "file"):
        with pytest.raises(AnnotationError, match="nor an earlier export"), export_folder(out, overwrite):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def exported(out, overwrite=False, **files):
    with export_folder(out, overwrite) as folder:
        for name, text in files.items():
            (folder / "labels").mkdir(exist_ok=True)
            (folder / "labels" / f"{name}.txt").write_text(text)


def test_only_files_of_the_earlier_export_are_replaced(tmp_path, capsys):
    out = tmp_path / "out"
    exported(out, a="1", b="2", c="3")
    (out / "labels.cache").write_text("of a trainer")
    exported(out, a="1", b="2", c="3")
    with pytest.raises(OtherResultsError, match=r"labels/b\.txt differs"):
        exported(out, a="1", b="other", d="4")
    assert {path.name for path in (out / "labels").iterdir()} == {"a.txt", "b.txt", "c.txt"}
    assert (out / "labels/b.txt").read_text() == "2"
    capsys.readouterr()
    exported(out, overwrite=True, a="1", b="other", d="4")
    assert capsys.readouterr().out.splitlines() == [f"replaced: {out}/labels/{name}.txt" for name in "bc"]
    assert {path.name for path in (out / "labels").iterdir()} == {"a.txt", "b.txt", "d.txt"}
    assert (out / "labels.cache").exists()
    exported(out, a="1", b="other", d="4")


def test_images_are_copied_or_linked_relative_so_that_both_folders_may_move(tmp_path, pictured):
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


def test_images_that_differ_only_in_suffix_are_refused():
    refuse_shared_names(PurePosixPath(name) for name in ("a.jpg", "x/a.png", "a.b.jpg"))
    with pytest.raises(AnnotationError, match="x/a: two images"):
        refuse_shared_names(PurePosixPath(name) for name in ("x/a.jpg", "x/a.png"))
