"""The service under load: valid and invalid requests mixed; checks status codes and memory."""

from __future__ import annotations

import io
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from table import QUICK, write_table

from boxpromptiml import Localizer
from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.runtime.processes import command_words
from stage2_distill.model.student import Student

sys.path.append(str(Path(__file__).parents[1] / "tests/fuzz"))
from bad_inputs import KINDS, photo
from service_client import Sender

RUN = Path(os.environ.get("RUN", "runs/demo"))
"""A run whose student is served; if it does not exist, an untrained student."""
STARTED_BY = shlex.split(os.environ.get("SERVICE", ""))
"""Another command that starts a service with the default limits, such as the one of deploy/container.py."""
REQUESTS = 60 if QUICK else 2_400
AT_ONCE = 16
LIMITS = RequestLimits() if STARTED_BY else RequestLimits(megabytes=4, megapixels=12, seconds=20, requests=64)
GROWTH = AT_ONCE * LIMITS.megabytes + LIMITS.readers * LIMITS.megapixels * 25 + 100
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
        _service(STARTED_BY or _command(checkpoint, Path(folder))) as (sender, process, anywhere),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        for form in ("JPEG", "PNG", "WEBP"):
            sender.photo(photo(form))
        before = _megabytes(process, "VmHWM")
        load = os.getloadavg()[0]
        begun = time.perf_counter()
        done = list(pool.map(lambda case: _timed(case, sender), _cases(Random(0), anywhere)))
        seconds = time.perf_counter() - begun
        grown = _megabytes(process, "VmHWM") - before
        left = sender("GET", "/health").content["requests"]
    settings = f"RUN=runs/{RUN.name}" if checkpoint.exists() else "an untrained student"
    if STARTED_BY:
        settings = "the Dockerfile's command with the released student, shut in as deploy/container.py says"
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
        f"same cores; {wrong} got another status than they must. The service grew by {grown:.0f} MB (limit "
        f"{GROWTH:.0f}: {AT_ONCE} × {LIMITS.megabytes:g} MB sent, {LIMITS.readers} × {LIMITS.megapixels:g} megapixels "
        f"× 25 bytes, 100 for the rest) over {before:.0f} MB with its student loaded, and had {left} requests left in "
        f"it. Load average of the machine before and after: {load:.1f}, {os.getloadavg()[0]:.1f}. "
        f"Settings: {settings}.",
        *(["container", "make container"] if STARTED_BY else []),
    )
    if wrong or grown > GROWTH or left:
        sys.exit("the service did not keep what it promises; see the table")


def _cases(chance: Random, anywhere: bool) -> Iterator[Case]:
    """Requests and what they must get; a service that listens anywhere answers to any name."""
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
            yield Case(name, send, 200 if name == OTHER_NAME and anywhere else status)


def _photo_status(content: bytes, sender: Sender) -> int:
    return sender.photo(content).status


def _sent(sender: Sender, *pieces: bytes) -> int:
    """Send a request piece by piece and return its status, or 0 without response."""
    with socket.create_connection(("127.0.0.1", sender.port), timeout=LIMITS.seconds + 10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return int(connection.recv(4096)[9:12] or 0)


OTHER_NAME = "another name"
HEAD = b"POST /localize HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
BAD_REQUESTS: list[tuple[str, Send, int]] = [
    ("too many bytes", lambda s: s.photo(bytes(int(LIMITS.megabytes * 1_100_000))).status, 413),
    ("no photo by its type", lambda s: s("POST", "/localize", b"{}", content_type="application/json").status, 415),
    ("a form without a photo", lambda s: s("POST", "/localize", b"", content_type="multipart/form-data").status, 422),
    ("a threshold of 7", lambda s: s("POST", "/localize?threshold=7", photo(), content_type="image/png").status, 422),
    ("a page elsewhere", lambda s: s("GET", "/health", origin="https://elsewhere.example").status, 403),
    (OTHER_NAME, lambda s: s("GET", "/health", host="elsewhere.example").status, 403),
    ("a path that leads out", lambda s: s("GET", "/%2e%2e/%2e%2e/etc/passwd").status, 404),
    ("another method", lambda s: s("DELETE", "/localize").status, 405),
    ("sent too slowly", lambda s: _sent(s, HEAD + b"Content-Length: 9000\r\n\r\n", photo()[:900]), 408),
    ("no HTTP", lambda s: _sent(s, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n"), 400),
]


def _command(checkpoint: Path, folder: Path) -> list[str]:
    if not checkpoint.exists():
        student = Student("mobilenetv3_small_050", pretrained=False, image_size=128, channels=16, prototypes=4)
        checkpoint = folder / "model"
        Localizer.from_student(student).save(checkpoint)
    words = [word for name, value in asdict(LIMITS).items() for word in (f"--limits.{name}", str(value))]
    return command_words(["serve", "--checkpoint", str(checkpoint), "--port", "0", *words])


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
def _service(command: list[str]) -> Iterator[tuple[Sender, int, bool]]:
    """Start the service; yields a client, the process id, and whether it listens on all addresses."""
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert served.stdout is not None
        address = next(line for line in served.stdout if line.startswith("http://")).split()[0]
        yield Sender(int(address.rsplit(":", 1)[1])), served.pid, "0.0.0.0" in address
    finally:
        os.killpg(served.pid, signal.SIGTERM)  # a wrapper such as `unshare --fork` does not pass signals on
        served.wait()


def _megabytes(process: int, name: str) -> float:
    """Of a process and all that it started."""
    folder = Path(f"/proc/{process}")
    lines = (folder / "status").read_text().splitlines()
    started = (folder / f"task/{process}/children").read_text().split()
    own = next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
    return own + sum(_megabytes(int(child), name) for child in started)


if __name__ == "__main__":
    main()
