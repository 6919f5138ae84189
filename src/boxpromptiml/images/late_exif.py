"""PNG files with EXIF after the pixels, where Pillow finds it only when it has decoded them."""

from __future__ import annotations

import os
from pathlib import Path

SIGNATURE = 8
"""Length of a PNG's signature in bytes."""
CHECKSUM = 4
"""Length of a chunk's checksum in bytes."""


def has_late_exif(path: Path) -> bool:
    """Return whether a PNG has an EXIF chunk after its pixels, from the headers of its chunks alone."""
    pixels = False
    with path.open("rb") as stream:
        stream.seek(SIGNATURE)
        while len(head := stream.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if pixels and kind == b"eXIf":
                return True
            pixels = pixels or kind == b"IDAT"
            stream.seek(length + CHECKSUM, os.SEEK_CUR)
    return False
