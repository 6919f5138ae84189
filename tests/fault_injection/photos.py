"""A set of small photos with bright disks, and every kind of bad image file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import write_manifest

WIDTH, HEIGHT = 48, 40


def write_photos(folder: Path, count: int, seed: int) -> list[ImageRecord]:
    """Photos with a bright disk, its mask and its box; every ninth is authentic."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    records = []
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for image_id in range(count):
        photo = rng.integers(40, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        cx, cy, r = (int(value) for value in (rng.integers(14, 34), rng.integers(14, 26), rng.integers(6, 11)))
        disk = (x - cx) ** 2 + (y - cy) ** 2 <= r**2
        photo[disk] += 110
        authentic = image_id % 9 == 8
        path, mask_path = folder / f"{image_id}.png", folder / f"{image_id}_mask.png"
        images.write_photo(path, photo)
        images.write_mask(mask_path, disk)
        boxes = as_boxes([] if authentic else [(cx - r - 2, cy - r - 1, cx + r + 3, cy + r + 2)])
        mask_of = None if authentic else mask_path
        records.append(
            ImageRecord(image_id, path, WIDTH, HEIGHT, boxes, "train", "disks", mask_of, authentic=authentic)
        )
    write_manifest(folder / "manifest.json", records)
    return records


@dataclass(frozen=True)
class Poison:
    """One way to spoil an image.

    Attributes:
        spoil: Function from the content of a photo to the replacement; None deletes the file.
        usable: Whether a reader must still accept the file.
        mask: Whether the mask is spoiled instead of the photo.
    """

    spoil: Callable[[bytes], bytes | None]
    usable: bool = False
    mask: bool = False


def poison(records: Sequence[ImageRecord], every: int) -> dict[int, str]:
    """Spoil every n-th manipulated image, each in a different way; return image id → name in ``POISONS``."""
    spoiled = {}
    names = list(POISONS)
    for record in records[::every]:
        if not record.authentic and record.mask_path is not None:
            name = names[len(spoiled) % len(names)]
            path = record.mask_path if POISONS[name].mask else record.path
            content = POISONS[name].spoil(path.read_bytes())
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            spoiled[record.image_id] = name
    return spoiled


def _again(mode: str, format: str = "PNG", **options: object) -> Callable[[bytes], bytes]:
    """Convert an image to another mode and file format under its old file name."""

    def convert(content: bytes) -> bytes:
        stream = io.BytesIO()
        _opened(content).convert(mode).save(stream, format, **options)
        return stream.getvalue()

    return convert


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def _bomb(content: bytes) -> bytes:
    """A PNG of a few bytes whose header declares 30,000 × 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def _turned(content: bytes) -> bytes:
    """A rotated image with the matching EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(_opened(content).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def _wide(content: bytes) -> bytes:
    """An image with 16 bits per channel."""
    return _encoded(Image.fromarray(np.asarray(_opened(content).convert("L")).astype(np.uint16) * 257))


def _animated(content: bytes) -> bytes:
    photo = _opened(content).convert("P")
    return _encoded(photo, "GIF", save_all=True, append_images=[photo.rotate(90)])


def _noise_inside(content: bytes) -> bytes:
    return content[:40] + bytes(value ^ 0x5A for value in content[40:])


POISONS = {
    "missing": Poison(lambda content: None),
    "zero bytes": Poison(lambda content: b""),
    "cut off": Poison(lambda content: content[: len(content) // 2]),
    "header alone": Poison(lambda content: content[:33]),
    "damaged inside": Poison(_noise_inside),
    "text": Poison(lambda content: b"<html>404 not found</html>"),
    "decompression bomb": Poison(_bomb),
    "1 × 1": Poison(lambda content: _encoded(Image.new("RGB", (1, 1)))),
    "another size": Poison(lambda content: _encoded(_opened(content).resize((HEIGHT, WIDTH)))),
    "mask of another size": Poison(lambda content: _encoded(_opened(content).resize((9, 9))), mask=True),
    "mask cut off": Poison(lambda content: content[: len(content) // 2], mask=True),
    "mask missing": Poison(lambda content: None, mask=True),
    "mislabelled": Poison(_again("RGB", "BMP"), usable=True),
    "16-bit": Poison(_wide, usable=True),
    "CMYK": Poison(_again("CMYK", "TIFF"), usable=True),
    "palette": Poison(_again("P"), usable=True),
    "grey": Poison(_again("L"), usable=True),
    "one bit": Poison(_again("1"), usable=True),
    "alpha": Poison(_again("RGBA"), usable=True),
    "animated": Poison(_animated, usable=True),
    "turned by EXIF": Poison(_turned, usable=True),
    "empty mask": Poison(lambda content: _encoded(Image.new("L", (WIDTH, HEIGHT))), mask=True),
}
"""Every kind of bad image file."""
