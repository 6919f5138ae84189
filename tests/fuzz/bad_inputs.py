"""Every kind of bad image file: its bytes, and the expected message and HTTP status.

`boxpromptiml predict` sets such a file aside with this message, the web app shows it, and the service returns it with
the status.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import h5py
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 160, 120
EMPTY = (422, "the file is empty")
NO_IMAGE = (415, "not a readable image")
BROKEN = (422, "cannot be decoded")
TOO_LARGE = (413, "more than the limit")


@dataclass(frozen=True)
class Kind:
    """One kind of bad file.

    Attributes:
        name: File name; its suffix is one that `predict` looks for.
        content: Function that makes the bytes.
        status: HTTP status returned by the service.
        words: Text expected in the one-line error message.
    """

    name: str
    content: Callable[[], bytes]
    status: int
    words: str


def photo(format: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    """A valid photo: smooth colours and a little noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).integers(0, 40, (HEIGHT, WIDTH, 3))
    pixels = np.stack([x * 200 // WIDTH, y * 200 // HEIGHT, (x + y) // 2], axis=-1) + noise
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(stream, format, **options)
    return stream.getvalue()


def cut(content: bytes, share: float) -> bytes:
    """Truncate a file."""
    return content[: int(len(content) * share)]


def patched(content: bytes, old: bytes, new: bytes) -> bytes:
    """Replace one sequence of bytes in a file."""
    if content.count(old) < 1:
        raise ValueError(f"there is no {old!r} to change")
    return content.replace(old, new, 1)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Build a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colours: int = 2) -> bytes:
    """Build a PNG whose header declares the given size, followed by the given chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def jpeg_size(width: int, height: int) -> bytes:
    """Build a JPEG whose header declares the given size."""
    return patched(photo(), struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", height, width))


def tiff(tags: dict[int, tuple[int, int]], tail: bytes = b"") -> bytes:
    """Build a TIFF with one directory: tag → (type 3 short or 4 long, value)."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + tail


def tiff_size(width: int, height: int) -> bytes:
    """Build a TIFF of one strip whose directory declares the given size."""
    tags = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8), 277: (3, 1)}
    return tiff(tags | {278: (4, height), 279: (4, 100)}, bytes(100))


def webp_size(width: int, height: int) -> bytes:
    """Build a WebP whose header declares the given size."""
    start = b"\x9d\x01\x2a"
    return patched(photo("WEBP"), start + struct.pack("<HH", WIDTH, HEIGHT), start + struct.pack("<HH", width, height))


def bmp_size(width: int, height: int) -> bytes:
    """Build a BMP whose header declares the given size."""
    return patched(photo("BMP"), struct.pack("<ii", WIDTH, HEIGHT), struct.pack("<ii", width, height))


def jp2_size(width: int, height: int) -> bytes:
    """Build a JPEG 2000 whose header declares the given size."""
    return photo("JPEG2000").replace(struct.pack(">II", HEIGHT, WIDTH), struct.pack(">II", height, width))


def zipped() -> bytes:
    """A photo in a ZIP archive whose member name points outside the folder."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../photo.jpg", photo())
    return stream.getvalue()


def shard() -> bytes:
    """An HDF5 file."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["image"] = np.zeros((4, 4), np.uint8)
    return stream.getvalue()


def array() -> bytes:
    """A NumPy array file."""
    stream = io.BytesIO()
    np.save(stream, np.zeros((4, 4)))
    return stream.getvalue()


def _of(promise: tuple[int, str], kinds: dict[str, Callable[[], bytes]]) -> list[Kind]:
    return [Kind(name, content, *promise) for name, content in kinds.items()]


KINDS = [
    *_of(EMPTY, {"empty.jpg": bytes, "empty.png": bytes}),
    *_of(
        NO_IMAGE,
        {
            "one byte.jpg": lambda: b"\xff",
            "zeros.jpg": lambda: bytes(5000),
            "noise.png": lambda: np.random.default_rng(1).bytes(5000),
            "a page.jpg": lambda: b"<!doctype html><title>404 Not Found</title><script>alert(1)</script>",
            "drawing.png": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
            "entities.png": lambda: b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
            "document.jpg": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n",
            "program.jpg": lambda: b"\x7fELF\x02\x01\x01" + bytes(200),
            "script.jpg": lambda: b'#!/bin/sh\nrm -rf "$HOME"\n',
            "pickle.jpg": lambda: pickle.dumps({"image": [1, 2, 3]}),
            "archive.jpg": zipped,
            "packed.jpg": lambda: gzip.compress(photo()),
            "shard.png": shard,
            "array.png": array,
            "json.jpg": lambda: json.dumps({"images": []}).encode(),
            "as text.jpg": lambda: base64.b64encode(photo()),
            "as link.jpg": lambda: b"data:image/jpeg;base64," + base64.b64encode(photo()),
            "as line ends.png": lambda: photo("PNG").replace(b"\r\n", b"\n"),
            "postscript.jpg": lambda: photo("EPS"),
            "icon.png": lambda: photo("ICO"),
            "targa.bmp": lambda: photo("TGA"),
            "fax.bmp": lambda: photo("PCX"),
            "layers.tif": lambda: b"8BPS\0\1" + bytes(40),
            "film.jpg": lambda: b"\0\0\0\x20ftypisom" + bytes(100),
            "phone.jpg": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
            "begun.jpg": lambda: b"\xff\xd8\xff",
            "begun.png": lambda: b"\x89PNG\r\n\x1a\n",
            "begun.gif": lambda: b"GIF89a",
            "begun.bmp": lambda: b"BM" + bytes(10),
            "begun.tif": lambda: b"II*\0\x08\0\0\0",
            "begun.webp": lambda: b"RIFF\x24\0\0\0WEBPVP8 ",
            "begun.jp2": lambda: b"\0\0\0\x0cjP  \r\n\x87\n",
            "begun.ppm": lambda: b"P6\n160",
            "half.webp": lambda: cut(photo("WEBP"), 0.5),
            "header cut.jpg": lambda: photo()[:200],
            "no size.jpg": lambda: b"\xff\xd8\xff\xd9",
            "no width.png": lambda: png(0, 10),
            "wrong sum.png": lambda: patched(
                photo("PNG"), struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", 161, 120)
            ),
            "wrong depth.png": lambda: png(8, 8, chunk(b"IDAT", zlib.compress(bytes(900))), depth=77),
            "no directory.tif": lambda: b"II*\0" + struct.pack("<I", 90_000),
            "no rows.tif": lambda: tiff_size(0, 0),
            "no letters.ppm": lambda: b"P6\nwide high 255\n",
            "no end.ppm": lambda: b"P6\n" + b"1" * 5000,
        },
    ),
    *_of(
        BROKEN,
        {
            "half.jpg": lambda: cut(photo(), 0.5),
            "nearly.jpg": lambda: cut(photo(), 0.9),
            "half.png": lambda: cut(photo("PNG"), 0.5),
            "half.gif": lambda: cut(photo("GIF", "P"), 0.5),
            "half.bmp": lambda: cut(photo("BMP"), 0.5),
            "half.tif": lambda: cut(photo("TIFF", compression="raw"), 0.5),
            "half.jp2": lambda: cut(photo("JPEG2000"), 0.5),
            "half.ppm": lambda: cut(photo("PPM"), 0.5),
            "no pixels.png": lambda: png(8, 8),
            "no zlib.png": lambda: png(8, 8, chunk(b"IDAT", b"no zlib at all")),
            "no tables.jpg": lambda: photo().replace(b"\xff\xdb", b"\xff\xe9"),
            "no palette.png": lambda: png(8, 8, chunk(b"IDAT", zlib.compress(bytes(4))), colours=3),
            "no strips.tif": lambda: tiff_size(100, 100),
        },
    ),
    *_of(
        TOO_LARGE,
        {
            "bomb.png": lambda: png(30_000, 30_000, chunk(b"IDAT", zlib.compress(bytes(10**6)))),
            "widest.png": lambda: png(2**31 - 1, 2**31 - 1),
            "bomb.jpg": lambda: jpeg_size(65_500, 65_500),
            "bomb.gif": lambda: patched(photo("GIF", "P"), struct.pack("<HH", WIDTH, HEIGHT), b"\xff\xff\xff\xff"),
            "bomb.bmp": lambda: bmp_size(60_000, 60_000),
            "bomb.tif": lambda: tiff_size(100_000, 100_000),
            "bomb.webp": lambda: webp_size(16_383, 16_383),
            "bomb.jp2": lambda: jp2_size(60_000, 60_000),
            "bomb.ppm": lambda: b"P6\n100000 100000 255\n" + bytes(100),
        },
    ),
]
"""All kinds; at least sixty."""
