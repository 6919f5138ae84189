"""The downloadable page about one photo: self-contained, and safe for any file name."""

import hashlib
import re

import numpy as np
import pytest
from PIL import ExifTags, Image

from boxpromptiml.apps.web_app.localize_tab import localize_photo, localize_upload
from boxpromptiml.apps.web_app.photo_page import photo_page
from boxpromptiml.apps.web_app.student_facts import StudentFacts

HOSTILE = "<script>alert(1)</script>&\"'"


@pytest.fixture
def upload(tmp_path):
    """A rotated JPEG with a software name in its EXIF data."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    exif = photo.getexif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Software] = 6, HOSTILE
    photo.save(tmp_path / "upload.jpg", quality=83, subsampling=0, exif=exif)
    return tmp_path / "upload.jpg"


def test_it_describes_the_photo_the_student_and_the_limits(localizer, upload):
    digest = hashlib.sha256(upload.read_bytes()).hexdigest()
    view = localize_upload(localizer, upload, "mine.jpg")
    page = photo_page(view, 0.0, StudentFacts.of(localizer, "released"))
    facts = ("mine.jpg", "60 × 80 pixels", "80 × 60 pixels, RGB", "6, to be rotated clockwise", "quality 83, 4:4:4")
    for words in (*facts, digest, localizer.weights_sha256(), "of a test", "generated images", "0.40"):
        assert words in page, words
    assert "set by hand" in page
    assert "JPEG quantization tables" in page


def test_no_text_becomes_markup(localizer, upload):
    page = photo_page(localize_upload(localizer, upload, HOSTILE), 0.4, StudentFacts.of(localizer, HOSTILE))
    assert "<script" not in page


def test_it_loads_no_other_file(localizer, upload):
    page = photo_page(localize_upload(localizer, upload, "mine.jpg"), 0.4, StudentFacts.of(localizer, "mine"))
    assert "default-src 'none'" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 2
    assert all(source.startswith("data:image/") for source in sources)


def test_a_photo_without_a_file_and_without_regions(localizer):
    view = localize_photo(localizer, np.zeros((30, 40, 3), np.uint8), "example")
    page = photo_page(view, 0.99, StudentFacts.of(localizer, "mine"))
    assert "Nothing in this photo is above the threshold" in page
    assert "the packaged example" in page
