"""A photo dropped on the page gives the result of the library, and a bad file the library's error message."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.apps.web_app.localize_photo import LocalizedPhoto, localize_photo, localize_upload
from boxpromptiml.apps.web_app.localize_tab import drawn, result_markup
from boxpromptiml.apps.web_app.page import Contents
from boxpromptiml.images import ImageError, read_mask, read_photo

pytestmark = pytest.mark.usefixtures("localizer")


@pytest.fixture(scope="session")
def address(open_page, localizer):
    return open_page(Contents(localizer), max_megabytes=1)


def test_the_result_agrees_with_the_library(localizer, photo_file):
    view, found = localize_photo(localizer, read_photo(photo_file), photo_file.name), localizer.predict(photo_file)
    assert (view.width, view.height) == (200, 150)
    assert (view.shown_width, view.shown_height) == (640, 480)  # small photos are enlarged
    assert view.picture.startswith("data:image/jpeg;base64,")
    assert view.caption() == "disk.png, 200 × 150"
    assert view.probability.shape == (64, 64)
    assert view.gate_prior.min() >= 0
    assert view.memory_prior.max() <= 1
    facts = result_markup(view, 0.4)
    assert view.score == pytest.approx(found.score)
    assert f"{view.score:.2f}" in facts
    assert f"{found.mask.mean():.1%}" in facts
    assert f"<b>{len(found.regions)}</b>" in facts


def test_tiled_probabilities_agree_with_the_library_at_full_resolution(localizer, photo_file):
    view, found = (
        localize_photo(localizer, read_photo(photo_file), photo_file.name, tiled=True),
        localizer.predict(photo_file, tiled=True),
    )
    np.testing.assert_array_equal(view.probability, found.probability)
    assert view.gate_prior.shape == localize_photo(localizer, read_photo(photo_file), photo_file.name).gate_prior.shape
    assert f"{found.mask.mean():.1%}" in result_markup(view, localizer.threshold)


def test_a_large_photo_is_shown_at_full_size_and_a_huge_one_is_reported_as_shrunk(localizer):
    full = localize_photo(localizer, np.zeros((3000, 4000, 3), np.uint8), "a.png")
    assert (full.shown_width, full.shown_height) == (4000, 3000)
    huge = localize_photo(localizer, np.zeros((200, 8192, 3), np.uint8), "a.png")
    assert huge.caption() == "a.png, 8192 × 200, shown at 4096 × 100"


def test_nothing_above_the_threshold_is_reported():
    empty = np.zeros((8, 8), np.float32)
    view = LocalizedPhoto("a.png", "data:,", 64, 64, 64, 64, 0.1, empty, empty, empty)
    assert "Nothing in this photo is above the threshold" in result_markup(view, 0.5)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
WIDE = Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80))
BOMB = encoded(Image.new("L", (30_000, 30_000)))
BAD = {
    "empty.png": (b"", "the file is empty"),
    "text.jpg": (b"not an image", "not a readable image"),
    "cut.png": (encoded(NOISE)[:900], "cannot be decoded"),
    "cut.jpg": (encoded(NOISE, "JPEG")[:900], "cannot be decoded"),
    "header.png": (encoded(NOISE)[:20], "not a readable image"),
    "bomb.png": (BOMB, "more than the limit"),
    "script.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not a readable image"),
    "page.html": (b"<!doctype html><script>alert(1)</script>", "not a readable image"),
    "zip.jpg": (b"PK\x03\x04" + bytes(200), "not a readable image"),
    "pickle.png": (b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.", "not a readable image"),
    "script.eps": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch pwned) system\n",
        "not a readable image|cannot be",
    ),
    "<b>name.png": (b"GIF89a", "not a readable image"),
}
ODD = {
    "one.png": encoded(Image.new("RGB", (1, 1))),
    "line.png": encoded(Image.new("RGB", (3000, 1))),
    "wide.png": encoded(WIDE),
    "ink.jpg": encoded(NOISE.convert("CMYK"), "JPEG"),
    "palette.gif": encoded(NOISE.convert("P"), "GIF"),
    "grey.png": encoded(NOISE.convert("LA")),
    "clear.png": encoded(NOISE.convert("RGBA")),
    "film.gif": encoded(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(90)]),
    "png.jpg": encoded(NOISE),
    "photo": encoded(NOISE, "TIFF"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line_and_deleted(localizer, tmp_path, name):
    content, words = BAD[name]
    upload = tmp_path / "upload"
    upload.write_bytes(content)
    with pytest.raises(ImageError, match=words) as refused:
        localize_upload(localizer, upload, name)
    assert str(refused.value).startswith(f"{name}: ")  # not the path on the server
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ODD)
def test_unusual_photos_are_accepted(localizer, tmp_path, name):
    upload = tmp_path / "upload"
    upload.write_bytes(ODD[name])
    view = localize_upload(localizer, upload, name)
    assert name in drawn(view, 0.4)
    assert "of the photo" in result_markup(view, 0.4)
    assert list(tmp_path.iterdir()) == []


def drop(page, name, content):
    page.set_input_files("#photo input[type=file]", {"name": name, "mimeType": "image/png", "buffer": content})


def test_a_photo_is_localized_and_its_mask_saved(visit, address, localizer, photo_file, tmp_path):
    page = visit(address)
    page.set_input_files("#photo input[type=file]", photo_file)
    page.wait_for_selector("#facts .headline")
    assert page.locator("#answer figure").count() == 4
    assert "disk.png, 200 × 150" in page.inner_text("#answer")
    with page.expect_download() as saved:
        page.click("a.download")
    saved.value.save_as(tmp_path / "mask.png")
    found = localizer.predict(photo_file)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), found.mask)

    page.locator("#answer input[type=range]").fill("40")
    assert page.locator("#answer .layers").get_attribute("style") == "--at: 40%;"
    with page.expect_download() as saved:
        page.click("#save")
    saved.value.save_as(tmp_path / "answer.html")
    assert saved.value.suggested_filename == "disk_answer.html"
    alone = visit((tmp_path / "answer.html").as_uri())
    for words in ("disk.png", localizer.weights_sha256(), "What it cannot see", "PNG"):
        assert words in alone.inner_text("body")
    alone.locator("input[type=range]").fill("70")
    assert alone.locator(".layers").get_attribute("style") == "--at: 70%;"
    assert [each for each in alone.left if not each.startswith("file:")] == []
    alone.close()

    page.check("#tiled input")
    page.set_input_files("#photo input[type=file]", photo_file)
    page.wait_for_selector("#answer >> text=disk.png, 200 × 150, in tiles")

    page.fill("#threshold input[type=number]", "0.99")
    page.press("#threshold input[type=number]", "Tab")
    page.wait_for_selector("#facts >> text=Nothing in this photo is above the threshold")
    assert page.left == []  # no request to another host


def test_bad_files_are_refused_with_a_message_and_the_page_keeps_working(visit, address, photo_file):
    page = visit(address)
    for name in ("empty.png", "cut.jpg", "bomb.png", "script.svg", "<b>name.png"):
        content, words = BAD[name]
        drop(page, name, content)
        page.wait_for_selector(f"#answer .error:has-text({words!r})")
    assert os.environ["GRADIO_TEMP_DIR"] not in page.inner_text("#answer")
    page.set_input_files("#photo input[type=file]", photo_file)
    page.wait_for_selector("#facts .headline")
    assert [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()] == []


def test_a_file_above_the_size_limit_is_refused_with_a_message(visit, address):
    page = visit(address)
    drop(page, "large.png", bytes(3_000_000))
    page.wait_for_selector("text=/exceed the maximum allowed size/")
