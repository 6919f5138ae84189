"""The service under load: valid and invalid requests mixed; checks status codes and memory."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from table import QUICK, write_table

from boxpromptiml import Localizer
from boxpromptiml.runtime.processes import command_words
from stage2_distill.model.student import Student

sys.path.append(str(Path(__file__).parents[1] / "tests/fuzz"))
from bad_inputs import KINDS, photo
from service_client import Sender

RUN = Path(os.environ.get("RUN", "runs/demo"))
"""A run whose student is served; if it does not exist, an untrained student."""
REQUESTS = 60 if QUICK else 2_400
AT_ONCE = 16
MEGABYTES, MEGAPIXELS, READERS = 4, 12, 2
GROWTH = AT_ONCE * MEGABYTES + READERS * MEGAPIXELS * 25 + 100
"""Allowed growth of the service in MB: uploads, decoded photos, responses, and what the first requests load."""


Send = Callable[[Sender], int]


@dataclass(frozen=True)
class Case:
    """A request and its expected status."""

    kind: str
    send: Send
    status: int


@dataclass(frozen=True)
class Done:
    """The result of a request."""

    case: Case
    status: int
    seconds: float


def main() -> None:
    """Send the requests, compare each status with the expected one, and exit with an error if any differs."""
    checkpoint = RUN / "fit/checkpoints/best.ckpt"
    with (
        tempfile.TemporaryDirectory() as folder,
        _service(checkpoint if checkpoint.exists() else _untrained(Path(folder) / "model")) as (sender, process),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        for form in ("JPEG", "PNG", "WEBP"):
            sender.photo(photo(form))
        before = _megabytes(process, "VmHWM")
        load = os.getloadavg()[0]
        begun = time.perf_counter()
        done = list(pool.map(lambda case: _timed(case, sender), _cases(Random(0))))
        seconds = time.perf_counter() - begun
        grown = _megabytes(process, "VmHWM") - before
        left = sender("GET", "/health").content["requests"]
    rows = []
    wrong = sum(request.status != request.case.status for request in done)
    for kind in dict.fromkeys(request.case.kind for request in done):
        some = [request for request in done if request.case.kind == kind]
        right = sum(request.status == request.case.status for request in some)
        statuses = Counter(request.status for request in some)
        told = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
        times = np.percentile([request.seconds * 1000 for request in some], [50, 95, 99, 100])
        rows.append([kind, len(some), right, told, *map(float, times)])
    write_table(
        "serve",
        f"{len(done):,} requests to the service, {AT_ONCE} at a time",
        ["request", "sent", "as it must be", "statuses", "median, ms", "95 %", "99 %", "slowest"],
        rows,
        f"{len(done) / seconds:.0f} requests a second on loopback, each on its own connection, from a process on the "
        f"same cores; {wrong} got another status than they must. The "
        f"service grew by {grown:.0f} MB (limit {GROWTH}: {AT_ONCE} × {MEGABYTES} MB sent, {READERS} × {MEGAPIXELS} "
        f"megapixels × 25 bytes, 100 for the rest) over {before:.0f} MB with its student loaded, and had {left} "
        f"requests left in it. Load average of the machine before and after: {load:.1f}, {os.getloadavg()[0]:.1f}. "
        f"Settings: {f'RUN=runs/{RUN.name}' if checkpoint.exists() else 'an untrained student'}.",
    )
    if wrong or grown > GROWTH or left:
        sys.exit("the service did not keep what it promises; see the table")


def _cases(chance: Random) -> Iterator[Case]:
    small, large = photo(), _large()
    good: dict[str, Send] = {
        "photo, 160 × 120, form": lambda s: s.photo(small).status,
        "photo, 160 × 120, body": lambda s: s("POST", "/localize?mask=rle", small, content_type="image/jpeg").status,
        "photo, 12 megapixels": lambda s: s.photo(large, query="?mask=rle").status,
        "health": lambda s: s("GET", "/health").status,
    }
    bad_files = [(kind.status, kind.content()) for kind in KINDS]
    for _ in range(REQUESTS):
        draw = chance.random()
        if draw < 0.7:
            (name,) = chance.choices(list(good), [30, 30, 1, 9])
            yield Case(name, good[name], 200)
        elif draw < 0.9:
            status, content = chance.choice(bad_files)
            yield Case("bad file", partial(_photo_status, content), status)
        else:
            name, send, status = chance.choice(BAD_REQUESTS)
            yield Case(name, send, status)


def _photo_status(content: bytes, sender: Sender) -> int:
    return sender.photo(content).status


def _sent(sender: Sender, *pieces: bytes) -> int:
    """Send a request piece by piece and return its status, or 0 without response."""
    with socket.create_connection(("127.0.0.1", sender.port), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return int(connection.recv(4096)[9:12] or 0)


HEAD = b"POST /localize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
BAD_REQUESTS: list[tuple[str, Send, int]] = [
    ("too many bytes", lambda s: s.photo(bytes(MEGABYTES * 1_100_000)).status, 413),
    ("no photo by its type", lambda s: s("POST", "/localize", b"{}", content_type="application/json").status, 415),
    ("a form without a photo", lambda s: s("POST", "/localize", b"", content_type="multipart/form-data").status, 422),
    ("a threshold of 7", lambda s: s("POST", "/localize?threshold=7", photo(), content_type="image/png").status, 422),
    ("a page elsewhere", lambda s: s("GET", "/health", origin="https://elsewhere.example").status, 403),
    ("another name", lambda s: s("GET", "/health", host="elsewhere.example").status, 403),
    ("a path that leads out", lambda s: s("GET", "/%2e%2e/%2e%2e/etc/passwd").status, 404),
    ("another method", lambda s: s("DELETE", "/localize").status, 405),
    ("sent too slowly", lambda s: _sent(s, HEAD + b"Content-Length: 9000\r\n\r\n", photo()[:900]), 408),
    ("no HTTP", lambda s: _sent(s, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n"), 400),
]


def _untrained(folder: Path) -> Path:
    student = Student("mobilenetv3_small_050", pretrained=False, image_size=128, channels=16, prototypes=4)
    Localizer.from_student(student).save(folder)
    return folder


def _large() -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((4000, 3000)).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _timed(case: Case, sender: Sender) -> Done:
    begun = time.perf_counter()
    try:
        status = case.send(sender)
    except OSError:
        status = 0
    return Done(case, status, time.perf_counter() - begun)


@contextmanager
def _service(model: Path) -> Iterator[tuple[Sender, int]]:
    """Start the service in its own process; yields a client and the process id."""
    limits = {"megabytes": MEGABYTES, "megapixels": MEGAPIXELS, "readers": READERS, "requests": 64, "seconds": 20}
    words = [word for name, value in limits.items() for word in (f"--limits.{name}", str(value))]
    command = command_words(["serve", "--checkpoint", str(model), "--port", "0", *words])
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert served.stdout is not None
        address = served.stdout.readline().split()[0]
        yield Sender(int(address.rsplit(":", 1)[1])), served.pid
    finally:
        served.terminate()
        served.wait()


def _megabytes(process: int, name: str) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
