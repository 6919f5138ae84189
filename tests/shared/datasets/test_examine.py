"""Files in the wild: valid ones in unusual formats are used, bad ones are named and affect nothing else."""

import io
import os

import numpy as np
import pytest
from PIL import ExifTags, Image

from boxpromptiml.datasets.prepare import prepare
from boxpromptiml.images import read_mask, read_record
from boxpromptiml.manifests.manifest import read_manifest

SIZE = (24, 16)
TURNED = Image.Exif()
TURNED[274] = 6  # EXIF orientation 6: camera on its side


@pytest.fixture
def pair_with(tree):
    """Function that adds a photo, given as bytes, to a folder with a good image; both have a mask."""
    tree.photos("Tp/good.jpg")
    tree.masks("Gt/good.png", "Gt/odd.png")

    def put(content, suffix=".png"):
        (tree.root / f"Tp/odd{suffix}").write_bytes(content)

    return put


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("image", "kind", "options"),
    [
        (Image.new("RGB", SIZE), "JPEG", {}),  # saved with the suffix .png
        (Image.fromarray(np.full((16, 24), 40000, np.uint16)), "PNG", {}),
        (Image.new("CMYK", SIZE), "JPEG", {}),
        (Image.new("P", SIZE), "PNG", {}),
        (Image.new("L", SIZE), "TIFF", {}),
        (Image.new("RGBA", SIZE), "PNG", {}),
        (Image.new("RGB", SIZE), "GIF", {"save_all": True, "append_images": [Image.new("RGB", SIZE, "red")]}),
        (
            Image.new("RGB", (16, 24)),
            "JPEG",
            {"exif": TURNED},
        ),
    ],
    ids=["mislabelled", "16-bit", "CMYK", "palette", "grey", "alpha", "animated", "EXIF-rotated"],
)
def test_photos_of_every_format_are_used(pair_with, prepared, image, kind, options):
    pair_with(encoded(image, kind, **options))
    outcome = prepared("tp_gt")
    assert outcome.code == 0
    assert (outcome.records["Tp/odd.png"].width, outcome.records["Tp/odd.png"].height) == SIZE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"<html>404</html>", "not a readable image"),
        (encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)))[:600], "cut off"),
        (encoded(Image.new("RGB", (1, 1))), "the mask is 24×16, but its image is 1×1, a different shape"),
        (encoded(Image.new("RGB", (1000, 1000))), "1000×1000 pixels, more than the limit"),
    ],
    ids=["empty", "text", "truncated", "one pixel", "bomb"],
)
def test_a_bad_photo_is_set_aside_and_the_rest_is_used(pair_with, prepared, monkeypatch, content, words):
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", "900000")
    pair_with(content)
    outcome = prepared("tp_gt")
    assert outcome.code == 3
    assert set(outcome.records) == {"Tp/good.jpg"}
    (aside,) = outcome.lines("skipped")
    assert words in aside


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", encoded(Image.new("L", SIZE))])
def test_a_bad_mask_is_reported_by_its_own_name(pair_with, prepared, tree, content):
    pair_with(encoded(Image.new("RGB", SIZE)))
    (tree.root / "Gt/odd.png").write_bytes(content)
    outcome = prepared("tp_gt")
    assert set(outcome.records) == {"Tp/good.jpg"}
    (aside,) = outcome.lines("skipped")
    assert aside.startswith(str(tree.root / "Gt/odd.png"))


def test_masks_of_nearly_the_right_size_are_resized_on_request_only(tree, prepared, tmp_path):
    tree.photos("Tp/a.jpg", "Tp/b.jpg", width=96, height=64)
    for name, size in (("a", (48, 32)), ("b", (64, 96))):
        region = np.zeros(size[::-1], bool)
        region[10:20, 10:20] = True
        tree.masks(f"Gt/{name}.png", region=region)
    tree.photos("Tp/good.jpg")
    tree.masks("Gt/good.png")
    assert len(prepared("tp_gt").lines("skipped")) == 2
    assert not (tmp_path / "out/mini-masks").exists()

    assert prepare(tmp_path / "out.json", "tp_gt", tree.root, mismatched="resize", looseness=0) == 3
    first, _ = read_manifest(tmp_path / "out.json").records
    assert first.mask_path.resolve() == tmp_path / "out-masks/Tp/a.jpg.png"
    _, mask = read_record(first)
    assert mask[20:40, 20:40].all()
    assert mask.sum() == 400
    assert first.boxes_xyxy.tolist() == [[20, 20, 40, 40]]
    assert read_mask(tree.root / "Gt/a.png").shape == (32, 48), "the set's own mask stays"


def test_resized_and_turned_masks_are_reported_by_name(tree, tmp_path, capsys):
    tree.photos("Tp/a.jpg", "Tp/b.jpg", width=200, height=100)
    tree.wrong_size("Gt/a.png", width=199, height=99)
    tree.wrong_size("Gt/b.png", width=100, height=200)
    assert prepare(tmp_path / "out.json", "tp_gt", tree.root, mismatched="resize") == 3
    aside, resized = capsys.readouterr().out.splitlines()[:2]
    assert "Gt/b.png: the mask is 100×200, but its image is 200×100, a different shape; find the right mask" in aside
    assert resized.endswith("Gt/a.png: from 199×99 to 200×100, its image's size")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights there")
def test_links_that_leave_the_root_are_set_aside(tree, prepared, tmp_path):
    tree.photos("Tp/good.jpg", "../secret.jpg")
    tree.masks("Gt/good.png", "Gt/link.png")
    (tree.root / "Tp/link.jpg").symlink_to(tmp_path / "secret.jpg")
    (tree.root / "Tp/inner.jpg").symlink_to(tree.root / "Tp/good.jpg")
    tree.masks("Gt/inner.png")
    outcome = prepared("tp_gt")
    (aside,) = outcome.lines("skipped")
    assert "Tp/link.jpg: points outside" in aside
    assert len(outcome.output) == 2, "a link inside the root is a file like others"


def test_several_processes_give_the_result_of_one(tree, tmp_path):
    names = [f"{i:02d}" for i in range(40)]
    tree.photos(*(f"Tp/{name}.png" for name in names))
    tree.masks(*(f"Gt/{name}.png" for name in names if name != "17"))
    (tree.root / "Tp/23.png").write_bytes(b"")
    for workers in (1, 2):
        assert prepare(tmp_path / str(workers) / "m.json", "tp_gt", tree.root, workers=workers) == 3
    assert (tmp_path / "1/m.json").read_bytes() == (tmp_path / "2/m.json").read_bytes()


def test_names_that_differ_by_a_second_suffix_have_masks_of_their_own(tree, prepared):
    """photo.jpg and photo.jpg.png, with masks that are converted because they are turned."""
    tree.photos("images/a.jpg", "images/a.jpg.png")
    tree.masks("masks/a.png", "masks/a.jpg.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for folder, options in (("images", {"exif": exif}), ("masks", {})):
        for path in (tree.root / folder).iterdir():
            Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, **options)
    masks = {record.mask_path for record in prepared("folders").forged.values()}
    assert sorted(path.name for path in masks) == ["a.jpg.png", "a.jpg.png.png"]
