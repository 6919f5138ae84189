"""What an image's file says about itself, for people: format, orientation, compression."""

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
"""Tables of 8 × 8 divisors, row by row, the first for brightness."""

SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
"""Pillow's numbers → colours beside brightness: as many, half as many, a quarter."""
ORIENTATIONS = {
    1: "1, upright as stored",
    2: "2, stored mirrored",
    3: "3, to be turned by 180°",
    4: "4, stored upside down and mirrored",
    5: "5, stored mirrored and on its side",
    6: "6, to be turned clockwise by 90°",
    7: "7, stored mirrored and on its side",
    8: "8, to be turned counter-clockwise by 90°",
}
"""What EXIF's number says about the stored picture."""
LOSSLESS = frozenset({"PNG", "BMP", "GIF", "PPM"})
LONGEST = 80
"""Letters of a text from the file that are kept."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts of one image file.

    Attributes:
        format: as Pillow calls it, such as JPEG.
        bytes: its size.
        sha256: of its content, 64 hexadecimal digits.
        width: of the stored picture in pixels, before EXIF turns it.
        height: of the stored picture in pixels.
        mode: how its pixels are stored, as Pillow calls it, such as RGB or CMYK.
        orientation: EXIF's number and what it says; empty where the file has none.
        compression: in words; empty where it is not known.
        frames: pictures in the file, of which the first is read.
        software: the program that EXIF names.
        tables: of a JPEG.
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
        """The facts that matter most, in a few words."""
        return f"{self.format}, {self.bytes:,} bytes{', ' if self.compression else ''}{self.compression}"

    def rows(self) -> list[tuple[str, str]]:
        """The facts as names and values."""
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
    """Facts of a file that `read_upright` has read without objection.

    Args:
        path: the file.
        orientation: that `read_upright` found, 1 to 8.
    """
    content = path.read_bytes()
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        tables = _tables(image)
        exif = Image.Image.getexif(image)  # PNG's own decodes all pixels to look for EXIF behind them
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
    """The quality of libjpeg, 1 to 100, whose tables are nearest to these, and whether they are the same."""
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
    """The tables of every quality, from the encoder itself."""
    tables = {}
    for quality in range(1, 101):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            tables[quality] = _tables(image)
    return tables
