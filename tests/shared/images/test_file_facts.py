"""Facts read from file headers, checked on files with known properties."""

import hashlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from boxpromptiml.images import read_facts
from boxpromptiml.images.file_facts import LONGEST, quality_of

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize("quality", [1, 30, 75, 92, 99])
@pytest.mark.parametrize(("subsampling", "named"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_a_jpegs_quality_and_sampling(tmp_path, quality, subsampling, named):
    PHOTO.save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling)
    facts = read_facts(tmp_path / "a.jpg")
    assert facts.compression == f"quality {quality}, {named}"
    assert facts.line().startswith("JPEG, ")
    assert facts.bytes == (tmp_path / "a.jpg").stat().st_size


def test_quantization_tables_of_other_encoders_are_recognized(tmp_path):
    PHOTO.save(tmp_path / "a.jpg", qtables=[[7] * 64, [9] * 64], progressive=True)
    facts = read_facts(tmp_path / "a.jpg")
    assert "about quality" in facts.compression
    assert "other than libjpeg's" in facts.compression
    assert facts.compression.endswith("progressive")
    assert facts.tables == ((7,) * 64, (9,) * 64)


def test_the_closest_jpeg_quality_is_found():
    quality, same = quality_of(((1,) * 64,))
    assert quality == 100
    assert same


def test_orientation_software_and_hash(tmp_path):
    exif = PHOTO.getexif()
    exif[ExifTags.Base.Software] = "Paint\n<b>" + "x" * 200
    PHOTO.save(tmp_path / "a.jpg", exif=exif)
    facts = read_facts(tmp_path / "a.jpg", orientation=8)
    assert (facts.width, facts.height, facts.mode) == (40, 30, "RGB")
    assert "counter-clockwise" in facts.orientation
    assert facts.software.startswith("Paint<b>")
    assert len(facts.software) <= LONGEST
    assert facts.sha256 == hashlib.sha256((tmp_path / "a.jpg").read_bytes()).hexdigest()
    assert all(name and value for name, value in facts.rows())


@pytest.mark.parametrize(
    ("kind", "words", "frames"),
    [("PNG", "lossless", 1), ("TIFF", "tiff_lzw", 1), ("WEBP", "", 1), ("GIF", "lossless", 2)],
)
def test_other_formats(tmp_path, kind, words, frames):
    options = {"TIFF": {"compression": "tiff_lzw"}, "GIF": {"save_all": True, "append_images": [PHOTO.rotate(90)]}}
    PHOTO.save(tmp_path / "a", kind, **options.get(kind, {}))
    facts = read_facts(tmp_path / "a")
    assert (facts.format, facts.compression, facts.frames) == (kind, words, frames)
    assert ("pictures in the file" in dict(facts.rows())) == (frames > 1)
