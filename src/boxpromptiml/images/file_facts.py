"""Facts about an image file for display: format, orientation, compression."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin

from boxpromptiml.images.files import FORMATS

QuantizationTables = tuple[tuple[int, ...], ...]
"""8 × 8 tables in row-major order, luminance first."""

SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
"""Pillow's number → chroma subsampling."""
ORIENTATIONS = {
    1: "1, upright as stored",
    2: "2, stored mirrored",
    3: "3, to be rotated by 180°",
    4: "4, stored upside down and mirrored",
    5: "5, stored mirrored and on its side",
    6: "6, to be rotated clockwise by 90°",
    7: "7, stored mirrored and on its side",
    8: "8, to be rotated counter-clockwise by 90°",
}
"""EXIF orientation → description of the stored image."""
LOSSLESS = frozenset({"PNG", "BMP", "GIF", "PPM"})
LONGEST = 80
"""Maximum number of characters kept of a text from the file."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts about one image file.

    Attributes:
        format: Pillow's name, such as JPEG.
        bytes: file size.
        sha256: hash of the content, 64 hexadecimal digits.
        width: width of the stored image in pixels, before the EXIF orientation is applied.
        height: height of the stored image in pixels.
        mode: Pillow's name of the pixel format, such as RGB or CMYK.
        orientation: EXIF orientation and its meaning; empty if the file has none.
        compression: description; empty if unknown.
        frames: number of images in the file, of which the first is read.
        software: program named in EXIF.
        tables: quantization tables of a JPEG.
    """

    format: str
    bytes: int
    sha256: str
    width: int
    height: int
    mode: str
    orientation: str
    compression: str
    frames: int = 1
    software: str = ""
    tables: QuantizationTables = field(default=(), repr=False)

    def line(self) -> str:
        """Return the most important facts in one line."""
        return f"{self.format}, {self.bytes:,} bytes{', ' if self.compression else ''}{self.compression}"

    def rows(self) -> list[tuple[str, str]]:
        """Return the facts as (name, value) pairs."""
        facts = [
            ("format", self.format),
            ("file size", f"{self.bytes:,} bytes"),
            ("stored size", f"{self.width} × {self.height} pixels, {self.mode}"),
            ("orientation (EXIF)", self.orientation or "not stated"),
            ("compression", self.compression or "not known"),
            ("software (EXIF)", self.software or "not stated"),
        ]
        facts += [("pictures in the file", f"{self.frames}, of which the first was read")] if self.frames > 1 else []
        return [*facts, ("SHA-256 of the file", self.sha256)]


def read_facts(path: Path, orientation: int | None = None) -> FileFacts:
    """Read the facts of a file that `read_upright` has read successfully.

    Args:
        path: the file.
        orientation: EXIF orientation found by `read_upright`, 1 to 8.
    """
    content = path.read_bytes()
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        tables = _tables(image)
        exif = Image.Image.getexif(image)  # PNG's own getexif would decode all pixels
        software = "".join(each for each in str(exif.get(ExifTags.Base.Software, "")) if each.isprintable())
        return FileFacts(
            format=image.format or "unknown",
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            width=image.width,
            height=image.height,
            mode=image.mode,
            orientation=ORIENTATIONS.get(orientation or 0, ""),
            compression=_compression(image, tables),
            frames=getattr(image, "n_frames", 1),
            software=software.strip()[:LONGEST],
            tables=tables,
        )


def quality_of(tables: QuantizationTables) -> tuple[int, bool]:
    """Return the libjpeg quality, 1 to 100, with the nearest tables, and whether the tables are identical."""
    distances = {
        quality: sum(int(np.abs(np.subtract(mine, its)).sum()) for mine, its in zip(tables, known, strict=False))
        for quality, known in _libjpeg().items()
    }
    nearest = min(distances, key=lambda quality: distances[quality])
    return nearest, distances[nearest] == 0


def _compression(image: Image.Image, tables: QuantizationTables) -> str:
    if tables:
        quality, same = quality_of(tables)
        words = f"quality {quality}" if same else f"about quality {quality}, with tables other than libjpeg's"
        sampling = SAMPLINGS.get(JpegImagePlugin.get_sampling(image), "") if len(image.getbands()) > 1 else ""
        return ", ".join(filter(None, [words, sampling, "progressive" if image.info.get("progressive") else ""]))
    if image.format in LOSSLESS:
        return "lossless"
    return str(image.info.get("compression", ""))[:LONGEST]


def _tables(image: Image.Image) -> QuantizationTables:
    found = getattr(image, "quantization", None) or {}
    return tuple(tuple(found[key]) for key in sorted(found))


@lru_cache(maxsize=1)
def _libjpeg() -> dict[int, QuantizationTables]:
    """Return the tables of every quality, obtained from the encoder itself."""
    tables = {}
    for quality in range(1, 101):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            tables[quality] = _tables(image)
    return tables
