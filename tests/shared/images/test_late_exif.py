"""EXIF after the pixels of a PNG, found without decoding them."""

import struct
import zlib

import pytest

from boxpromptiml.images.late_exif import has_late_exif


def png(*kinds):
    chunks = (struct.pack(">I", 3) + kind + b"abc" + struct.pack(">I", zlib.crc32(kind + b"abc")) for kind in kinds)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "late"),
    [
        (png(b"IHDR", b"IDAT", b"IDAT", b"eXIf", b"IEND"), True),
        (png(b"IHDR", b"eXIf", b"IDAT", b"IEND"), False),
        (png(b"IHDR", b"IDAT", b"IEND"), False),
        (png(b"IHDR", b"IDAT")[:-5], False),  # cut off
        (b"", False),
    ],
)
def test_only_exif_after_the_pixels_is_late(tmp_path, content, late):
    (tmp_path / "a.png").write_bytes(content)
    assert has_late_exif(tmp_path / "a.png") == late
