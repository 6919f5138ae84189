"""The readers of untrusted files, with valid files to mutate."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from bad_inputs import HEIGHT, WIDTH, photo
from PIL import Image

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, InputError, Sample, Stamp
from boxpromptiml.datasets.annotations.import_boxes import import_boxes
from boxpromptiml.manifests.manifest import read_manifest, write_manifest
from boxpromptiml.shards import SCHEMA, ShardReader, read_index, read_shard, write_index, write_shard
from stage2_distill.inference.scored_map import ScoredMap

Read = Callable[[Path], Any]
BOUNDARY = "limit"


@dataclass(frozen=True)
class Target:
    """One kind of reader.

    Attributes:
        files: Valid files, relative to the folder they were written to.
        reads: Readers; each takes a file and returns a value or raises an InputError.
    """

    files: list[Path]
    reads: list[Read]


@contextmanager
def image_files(folder: Path) -> Iterator[Target]:
    """Photos, masks and instance maps in every format."""
    turned = Image.Exif()
    turned[0x0112] = 6
    contents = {
        "plain.jpg": photo(),
        "turned.jpg": photo(exif=turned, progressive=True),
        "print.jpg": photo(mode="CMYK"),
        "plain.png": photo("PNG"),
        "palette.png": photo("PNG", "P", transparency=3),
        "wide.png": photo("PNG", "I"),
        "mask.png": photo("PNG", "1"),
        "mask.tif": photo("TIFF", "1"),
        "plain.gif": photo("GIF", "P"),
        "plain.bmp": photo("BMP"),
        "plain.tif": photo("TIFF"),
        "packed.tif": photo("TIFF", compression="tiff_lzw"),
        "plain.webp": photo("WEBP"),
        "plain.jp2": photo("JPEG2000"),
        "plain.ppm": photo("PPM"),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "beside.png").write_bytes(photo("PNG"))
    reads: list[Read] = [images.read_photo, images.read_size, images.read_mask]
    reads += [partial(read, folder / "beside.png") for read in (images.read_pair, images.read_instances)]
    yield Target([Path(name) for name in contents], reads)


@contextmanager
def manifests(folder: Path) -> Iterator[Target]:
    """A manifest with every field."""
    write_manifest(folder / "manifest.json", _records(folder), "of a test", folder)
    yield Target([Path("manifest.json")], [read_manifest])


@contextmanager
def annotations(folder: Path) -> Iterator[Target]:
    """Boxes of four annotation tools, with their images."""
    (folder / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "images" / name).write_bytes(photo())
    contents = {
        "coco.json": json.dumps(
            {
                "images": [
                    {"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT},
                    {"id": 2, "file_name": "b.jpg"},
                ],
                "annotations": [{"id": 1, "image_id": 1, "bbox": [1.5, 2, 30, 40], "category_id": 0, "iscrowd": 0}],
                "categories": [{"id": 0, "name": "forged"}],
            }
        ),
        "studio.json": json.dumps(
            [
                {
                    "id": 1,
                    "data": {"image": "/data/upload/1/ab12cd34-a.jpg"},
                    "annotations": [
                        {
                            "result": [
                                {
                                    "type": "rectanglelabels",
                                    "original_width": WIDTH,
                                    "original_height": HEIGHT,
                                    "value": {"x": 1, "y": 2, "width": 30, "height": 40, "rectanglelabels": ["forged"]},
                                }
                            ]
                        }
                    ],
                }
            ]
        ),
        "voc/Annotations/a.xml": f"<annotation><filename>a.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}"
        "</height></size><object><name>forged</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>30</xmax><ymax>40</ymax>"
        "</bndbox></object></annotation>",
        "yolo/data.yaml": "path: .\ntrain: images\nval: images\nnames: {0: forged, 1: other}\n",
        "yolo/labels/a.txt": "0 0.5 0.5 0.2 0.3\n1 0.1 0.2 0.3 0.1 0.4 0.5\n",
    }
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("voc/JPEGImages", "yolo/images"):
        (folder / name).mkdir()
        (folder / name / "a.jpg").write_bytes(photo())

    def imported(path: Path) -> None:
        given: dict[str, tuple[Any, Path, Path | None]] = {
            "coco.json": ("coco", path, folder / "images"),
            "studio.json": ("label_studio", path, folder / "images"),
            "a.xml": ("voc", folder / "voc", None),
        }
        tool, given_path, photos = given.get(path.name, ("yolo", folder / "yolo", None))
        with contextlib.redirect_stdout(io.StringIO()):
            import_boxes(tool, given_path, folder / "out.json", images=photos, overwrite=True)

    yield Target([Path(name) for name in contents], [imported])


@contextmanager
def shards(folder: Path) -> Iterator[Target]:
    """A cache of one shard."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    boxes, scores = as_boxes([(1, 1, 5, 6)]), np.ones(1, np.float32)
    samples = [
        Sample(
            i, pixels[i], pixels[i, ..., 0], pixels[i, ..., 1], boxes, scores, "set", "train", False, "splice", 64, 48
        )
        for i in range(3)
    ]
    stamp = Stamp(SCHEMA, 8, "grabcut", "", "of a test", "0.1.0")
    write_shard(folder / "shard-000-00000.h5", samples, [], stamp, 1.0)
    write_index(folder, stamp)
    shard = folder / "shard-000-00000.h5"
    reads: list[Read] = [
        lambda _: read_index(folder),
        lambda _: read_shard(shard, None),
        lambda _: [reader[i] for reader in [ShardReader(folder)] for i in range(len(reader))],
    ]
    yield Target([Path(shard.name), Path("index.json")], reads)


@contextmanager
def requests(folder: Path) -> Iterator[Target]:
    """Raw HTTP requests to the service, whose student is a stub that finds nothing."""
    from service_client import served

    from boxpromptiml.apps.serve.request_limits import RequestLimits

    form = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'.encode()
    form += photo() + f"\r\n--{BOUNDARY}--\r\n".encode()
    start = b"POST /localize?mask=rle&threshold=0.5 HTTP/1.1\r\nHost: localhost\r\n"
    contents = {
        "form": start
        + f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(form)}\r\n\r\n".encode()
        + form,
        "body": start + f"Content-Type: image/jpeg\r\nContent-Length: {len(photo())}\r\n\r\n".encode() + photo(),
        "chunked": start
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + f"{len(photo()):x}\r\n".encode()
        + photo()
        + b"\r\n0\r\n\r\n",
        "health": b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
        "openapi": b"GET /openapi.json HTTP/1.0\r\nHost: localhost\r\n\r\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    student: Any = SimpleNamespace(
        threshold=0.5,
        student=SimpleNamespace(image_size=16, mean=torch.zeros(3)),
        weights_sha256=lambda: "",
        localize_scored=lambda photos: [ScoredMap(np.zeros((16, 16), np.float32), 0.0)] * len(photos),
    )
    with served(student, RequestLimits(megabytes=1, megapixels=1, seconds=0.1)) as sender:
        yield Target([Path(name) for name in contents], [partial(_sent, sender.port)])


TARGETS = {
    "images": image_files,
    "manifests": manifests,
    "annotations": annotations,
    "shards": shards,
    "requests": requests,
}


def _sent(port: int, path: Path) -> None:
    """Send the bytes of a file as a raw request.

    Raises:
        InputError: The request was refused or not recognized.
        AssertionError: The service failed.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as connection:
        try:
            connection.sendall(path.read_bytes())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            body = answer.read().decode()
        except TimeoutError:
            raise InputError("no answer: the request has no end") from None
        except (OSError, http.client.RemoteDisconnected):
            raise InputError("the service hung up") from None
    if answer.status != 200:
        assert 400 <= answer.status < 500 or answer.status == 503, (answer.status, body)
        raise InputError(f"{HTTPStatus(answer.status).phrase}: {body.removeprefix('{')}".replace('"', ""))


def _records(folder: Path) -> list[ImageRecord]:
    boxes = as_boxes([(1, 2, 30, 40), (50, 50, 90, 100)])
    first = ImageRecord(1, folder / "a.jpg", WIDTH, HEIGHT, boxes, "train", "set", folder / "a.png", kind="splice")
    return [first, ImageRecord(2, folder / "b.jpg", WIDTH, HEIGHT, as_boxes([]), "val", "set", authentic=True)]
