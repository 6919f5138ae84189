"""A photo dropped on the page: the answer is the library's, and bad files get the library's words."""

import io
import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.app.localize import View, consumed, look, told
from boxpromptiml.app.page import Contents
from boxpromptiml.images import ImageError, read_mask

pytestmark = pytest.mark.usefixtures("localizer")


@pytest.fixture(scope="session")
def address(open_page, localizer):
    return open_page(Contents(localizer), max_megabytes=1)


def test_a_look_agrees_with_the_library(localizer, photo_file):
    view, found = look(localizer, photo_file, photo_file.name), localizer.predict(photo_file)
    assert (view.width, view.height) == (200, 150)
    assert max(view.photo.shape) == 640  # small photos are enlarged
    assert view.probability.shape == (64, 64)
    assert view.gate_prior.min() >= 0
    assert view.memory_prior.max() <= 1
    facts = told(view, 0.4)
    assert f"{view.probability.max():.2f}" in facts
    assert f"{found.mask.mean():.1%}" in facts
    assert f"<b>{len(found.regions)}</b>" in facts


def test_nothing_above_the_threshold_is_said_in_words():
    empty = np.zeros((8, 8), np.float32)
    view = View("a.png", np.zeros((64, 64, 3), np.uint8), 64, 64, empty, empty, empty)
    assert "Nothing in this photo is above the threshold" in told(view, 0.5)


@pytest.mark.parametrize("fails", [False, True])
def test_an_upload_is_deleted_whatever_happens(tmp_path, fails):
    upload = tmp_path / "a.png"
    upload.touch()
    expected = pytest.raises(ImageError, match=r"^my photo.png: broken$") if fails else nullcontext()
    with expected, consumed(upload, "my photo.png"):  # the message does not say where the server keeps it
        if fails:
            raise ImageError(f"{upload}: broken")
    assert not upload.exists()


def png(width, height):
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return stream.getvalue()


BAD = {
    "empty.png": (b"", "the file is empty"),
    "text.jpg": (b"not an image", "not an image that can be read"),
    "cut.png": (png(4000, 3000)[:900], "cannot be decoded"),
    "bomb.png": (png(30_000, 30_000), "more than the limit"),
    "script.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not an image"),
    "<b>name.png": (b"GIF89a", "not an image that can be read"),
}


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
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", (200, 150)), found.mask)

    page.fill("#threshold input[type=number]", "1")
    page.press("#threshold input[type=number]", "Tab")
    page.wait_for_selector("#facts >> text=Nothing in this photo is above the threshold")
    assert page.left == []  # no request for another machine


def test_bad_files_are_refused_in_words_and_the_page_goes_on(visit, address, photo_file):
    page = visit(address)
    for name, (content, words) in BAD.items():
        drop(page, name, content)
        page.wait_for_selector(f"#answer .error:has-text({words!r})")
    assert os.environ["GRADIO_TEMP_DIR"] not in page.inner_text("#answer")
    page.set_input_files("#photo input[type=file]", photo_file)
    page.wait_for_selector("#facts .headline")
    assert [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()] == []


def test_a_file_above_the_size_limit_is_refused_in_words(visit, address):
    page = visit(address)
    drop(page, "large.png", bytes(3_000_000))
    page.wait_for_selector("text=/exceed the maximum allowed size/")
