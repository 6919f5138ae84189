"""The list of image file types, and the report of other files in a folder."""

import numpy as np
import pytest
from PIL import Image

from boxpromptiml import images
from boxpromptiml.images import ImageError, list_images, read_photo, scan_folder
from boxpromptiml.images.files import without_results


def test_folders_are_listed_with_subfolders_in_a_fixed_order(tmp_path, photo):
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "a.JPG", "b/1.tif", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in images.list_images(tmp_path)] == ["a.JPG", "b/1.tif", "b/2.png"]
    with pytest.raises(ImageError, match="no such folder"):
        images.list_images(tmp_path / "nowhere")


@pytest.fixture
def folder(tmp_path):
    """Function that creates empty files."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def names(content):
    return [path.relative_to(content.folder).as_posix() for path in content.images]


@pytest.mark.parametrize("suffix", sorted(images.IMAGE_SUFFIXES))
def test_every_listed_suffix_can_be_decoded(put, tmp_path, suffix):
    """For every suffix in the list, a file is written, found in its folder, and read."""
    grey = suffix in {".pgm", ".pbm", ".pnm", ".pfm"}
    colours = np.full((16, 24) if grey else (16, 24, 3), 200, np.uint8)
    picture = Image.fromarray(colours / np.float32(255) if suffix == ".pfm" else colours)
    put(f"photo{suffix}", picture.convert("1") if suffix == ".pbm" else picture)
    assert list_images(tmp_path) == [tmp_path / f"photo{suffix}"]
    assert read_photo(tmp_path / f"photo{suffix}").shape == (16, 24, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"])
def test_common_types_are_in_the_list(suffix):
    assert suffix in images.IMAGE_SUFFIXES


@pytest.mark.parametrize("suffix", [".eps", ".ps", ".pdf", ".h5", ".mpg", ".psd", ".txt", ""])
def test_parsers_that_run_programs_or_accept_any_file_are_disabled(suffix):
    assert suffix not in images.IMAGE_SUFFIXES


def test_ignored_files_are_counted_by_suffix(folder):
    content = scan_folder(folder("a.jpg", "b.HEIC", "c/d.heic", "c/notes.txt", "README", ".hidden", "c/Thumbs.db"))
    assert names(content) == ["a.jpg"]
    assert content.remark() == f"{content.folder}: ignored: 2 × .heic, 1 × .txt, 1 × without suffix"
    assert scan_folder(folder("c/e.png")).images == [content.folder / "a.jpg", content.folder / "c/e.png"]


def test_a_folder_of_photos_only_prints_nothing(folder):
    assert scan_folder(folder("a.jpg")).remark() == ""


def test_links_that_are_not_followed_are_counted(folder, tmp_path):
    folder("photos/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "photos/c.jpg").symlink_to(tmp_path / "elsewhere/b.jpg")
    content = scan_folder(tmp_path / "photos")
    assert names(content) == ["a.jpg", "c.jpg"]
    assert content.passed_over == {"link to a folder": 1, "broken link or special file": 1}


OURS = {
    "predict": ["found/predictions.jsonl", "found/masks/a.png", "found/masks/deep/b.png", "found/overlays/a.jpg"],
    "predict into the folder itself": ["predictions.settings.json", "masks/a.png", "overlays/a.jpg"],
    "synthesize": ["made/synthesis.json", "made/images/1.png", "made/masks/1.png"],
    "prepare": ["set.json", "set-masks/images/b.jpg.png"],
    "check": ["set-check/check.json", "set-check/check.png"],
    "audit": ["cache/audit.json", "cache/audit.png"],
    "fit": ["fit/fit.json", "fit/panels/epoch-000.png", "fit/worst/val-worst.png"],
    "a fit that was stopped": ["fit/checkpoints/last.ckpt", "fit/panels/epoch-000.png"],
    "W&B": ["wandb/offline-run-20261201_033130-8tiqvy9m/files/media/images/panels_18_ae62.png"],
    "a killed command": [".a.png.partial.png"],
}


@pytest.mark.parametrize("command", OURS)
def test_our_own_results_are_not_listed_as_photos(folder, command):
    content = scan_folder(folder("a.jpg", "deep/b.jpg", *OURS[command]))
    assert names(content) == ["a.jpg", "deep/b.jpg"]
    pictures = [name for name in OURS[command] if name.endswith(("png", "jpg"))]
    assert content.results == len(pictures)
    assert f"{len(pictures)} × result of boxpromptiml" in content.remark()
    listed = [path for path in content.folder.rglob("*") if path.suffix in (".jpg", ".png")]
    assert sorted(without_results(listed, content.folder)) == content.images


def test_folders_with_such_names_are_listed_unless_a_command_wrote_them(folder):
    content = scan_folder(folder("masks/a.png", "overlays/a.jpg", "set-masks/b.png", "check.png", "panels/a.png"))
    assert len(content.images) == 5


def test_results_are_listed_when_their_own_folder_is_given(folder):
    folder("found/predictions.jsonl", "found/masks/a.png")
    assert names(scan_folder(folder() / "found/masks")) == ["a.png"]


def test_other_files_beside_listed_ones_are_counted(folder):
    root = folder("images/a.jpg", "images/b.heic", "images/c.jpg", "images/.hidden", "masks/a.png", "other/d.jpg")
    assert images.beside([root / "images/a.jpg", root / "masks/a.png"]) == {".heic": 1, ".jpg": 1}
    assert images.beside([root / "nowhere/a.jpg"]) == {}
