"""The service under load: status codes and memory for mixed requests, speed, and its end on SIGTERM."""

from __future__ import annotations

import io
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from table import QUICK, write_table

from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.runtime.processes import command_words

sys.path.append(str(Path(__file__).parents[1] / "tests/fuzz"))
from bad_inputs import KINDS, photo
from service_client import Sender

STUDENT = os.environ.get("STUDENT", "released")
"""The checkpoint that is served."""
STARTED_BY = shlex.split(os.environ.get("SERVICE", ""))
"""Another command that starts a service with the default limits, such as the one of deploy/container.py."""
REQUESTS = 60 if QUICK else 2_400
AT_ONCE = 16
LIMITS = RequestLimits() if STARTED_BY else RequestLimits(megabytes=4, megapixels=12, seconds=20, requests=64)
GROWTH = AT_ONCE * LIMITS.megabytes + LIMITS.readers * LIMITS.megapixels * 25 + 100
"""Allowed growth of the service in MB: uploads, decoded photos, responses, and what the first requests load."""
BACKENDS = ("PyTorch", "ONNX Runtime")
AT_ONCE_FOR_SPEED = (1, 4, AT_ONCE)
SECONDS = 2 if QUICK else 15
"""Duration of a measurement of speed."""
MOST_SECONDS_TO_END = 8
"""`docker stop` kills after 10."""

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


@dataclass
class Service:
    """A service that is being measured."""

    sender: Sender
    process: subprocess.Popen[str]
    anywhere: bool

    @classmethod
    def start(cls, command: list[str]) -> Service:
        """Start it, and load what the first photos need."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("http://")).split()[0]
        started = cls(Sender(int(address.rsplit(":", 1)[1])), process, "0.0.0.0" in address)
        for form in ("JPEG", "PNG", "WEBP"):
            started.sender.photo(photo(form))
        return started

    def terminate(self) -> None:
        """Send SIGTERM to all its processes; a wrapper such as `unshare --fork` does not pass signals on."""
        os.killpg(self.process.pid, signal.SIGTERM)


def main() -> None:
    """Send the requests, compare each status with the expected one, and exit with an error if any differs."""
    services = [service := Service.start(STARTED_BY or _command())]
    settings = f"STUDENT={STUDENT}"
    if STARTED_BY:
        settings = "the Dockerfile's command with the released student, shut in as deploy/container.py says"
    try:
        kept = _mixed(service, settings)
        if not STARTED_BY:
            services.append(Service.start(_command("--backend", "onnx")))
        _speed(services, settings)
        ended = _stopped(service)
    finally:
        for each in services:
            if each.process.poll() is None:
                each.terminate()
    if not (kept and ended):
        sys.exit("the service did not keep what it promises; see above")


def _mixed(service: Service, settings: str) -> bool:
    """Send valid and invalid requests; return whether all got what they must, within the limits of memory."""
    process, sender = service.process.pid, service.sender
    before = _megabytes(process, "VmHWM")
    load = os.getloadavg()[0]
    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(lambda case: _timed(case, sender), _cases(Random(0), service.anywhere)))
    seconds = time.perf_counter() - begun
    grown = _megabytes(process, "VmHWM") - before
    left = sender("GET", "/health").content["requests"]
    rows = []
    wrong = sum(request.status != request.case.status for request in done)
    for kind in dict.fromkeys(request.case.kind for request in done):
        some = [request for request in done if request.case.kind == kind]
        right = sum(request.status == request.case.status for request in some)
        rows.append([kind, len(some), right, _told(some), *_milliseconds(some, 50, 95, 99, 100)])
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
        *_container(""),
    )
    return not (wrong or grown > GROWTH or left)


def _speed(services: list[Service], settings: str) -> None:
    """Send photos from several clients at once, each of which sends the next one as soon as it has an answer."""
    rows = []
    for clients, (backend, service) in product(AT_ONCE_FOR_SPEED, zip(BACKENDS, services, strict=False)):
        before, begun = _processor_seconds(service.process.pid), time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            until = begun + SECONDS
            by_client = pool.map(partial(_photos_until, service.sender), [until] * clients)
            done = [each for some in by_client for each in some]
        seconds = time.perf_counter() - begun
        each = (_processor_seconds(service.process.pid) - before) * 1000 / len(done)
        rows.append([backend, clients, len(done) / seconds, each, _told(done), *_milliseconds(done, 50, 95, 100)])
    write_table(
        "serve",
        "Photos to the service from several clients at once",
        ["network in", "clients", "photos/s", "processor ms a photo", "statuses", "median, ms", "95 %", "slowest"],
        rows,
        f"Photos of 160 × 120, answered with run lengths; {SECONDS} seconds a row. Load average of the machine at the "
        f"end: {os.getloadavg()[0]:.1f}; the clients run on the same cores. Settings: {settings}.",
        *_container("speed"),
    )


def _stopped(service: Service) -> bool:
    """Stop it while clients wait for photos; return whether it ended soon, and answered or refused every photo."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(_timed, PHOTO, service.sender) for _ in range(AT_ONCE)]
        while service.sender("GET", "/health").content["requests"] < AT_ONCE and not any(map(Future.done, waiting)):
            time.sleep(0.01)
        begun = time.perf_counter()
        service.terminate()
        code = service.process.wait()
        seconds = time.perf_counter() - begun
        done = [each.result() for each in waiting]
    print(
        f"SIGTERM while {AT_ONCE} clients waited for photos: ended after {seconds:.1f} s with code {code}; they got "
        f"{_told(done)}. Load average of the machine: {os.getloadavg()[0]:.1f}.\n"
    )
    return code == 0 and seconds < MOST_SECONDS_TO_END and {each.status for each in done} <= {200, 503}


def _photos_until(sender: Sender, until: float) -> list[Done]:
    done = []
    while time.perf_counter() < until:
        done.append(_timed(PHOTO, sender))
    return done


def _told(done: list[Done]) -> str:
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(Counter(each.status for each in done).items()))


def _milliseconds(done: list[Done], *shares: float) -> list[float]:
    return [float(number) for number in np.percentile([each.seconds * 1000 for each in done], shares)]


def _container(part: str) -> list[str]:
    """Name of a table and its command, if the service runs in a container."""
    return ["-".join(filter(None, ("container", part))), "make container"] if STARTED_BY else [part]


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


PHOTO = Case("photo", lambda s: s("POST", "/localize?mask=rle", photo(), content_type="image/jpeg").status, 200)


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


def _command(*more: str) -> list[str]:
    words = [word for name, value in asdict(LIMITS).items() if value for word in (f"--limits.{name}", str(value))]
    return command_words(["serve", "--checkpoint", STUDENT, "--port", "0", *words, *more])


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


def _processes(process: int) -> list[int]:
    """A process and all that it started."""
    started = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(each for child in started for each in _processes(int(child)))]


def _megabytes(process: int, name: str) -> float:
    lines = [line for each in _processes(process) for line in Path(f"/proc/{each}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _processor_seconds(process: int) -> float:
    fields = [Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split() for each in _processes(process)]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
