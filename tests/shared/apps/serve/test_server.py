"""A service that is stopped under load ends within seconds."""

import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from service_client import Sender

from boxpromptiml import Localizer
from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.runtime.processes import command_words

SOON = 20
"""Far below what the load would take, and enough for a busy machine."""
OTHERS = re.compile(r"nanobind| - leaked | - \.\.\. ")
"""Lines that triton, a dependency of torch, prints at the end of every process on Python 3.14."""


class HeldStudent:
    """A student that does not answer before it is released.

    Attributes:
        started: photos that it has started with.
        released: lets it answer.
    """

    def __init__(self, monkeypatch):
        self.started = []
        self.released = threading.Event()
        localize = Localizer.localize_scored

        def held(localizer, photos):
            self.started.extend(photos)
            self.released.wait(60)
            return localize(localizer, photos)

        monkeypatch.setattr(Localizer, "localize_scored", held)


@pytest.fixture
def student(monkeypatch):
    held = HeldStudent(monkeypatch)
    yield held
    held.released.set()


def test_photos_being_computed_are_answered_and_all_others_refused_at_once(start, localizer, student, photo_file):
    limits = RequestLimits(requests=32, threads=1)
    with ThreadPoolExecutor(24) as pool, ExitStack() as stack:
        send = stack.enter_context(start(localizer, limits))
        uploading = socket.create_connection(("127.0.0.1", send.port))
        uploading.sendall(b"POST /localize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n\x89PNG")
        replies = [pool.submit(send.photo, photo_file.read_bytes()) for _ in range(24)]
        while send("GET", "/health").content["requests"] < 25 or not student.started:
            time.sleep(0.01)
        threading.Timer(1, student.released.set).start()
        begun = time.monotonic()
        stack.close()
        taken = time.monotonic() - begun
        assert uploading.recv(4096).startswith(b"HTTP/1.1 503")
    counts = Counter(reply.result().status for reply in replies)
    assert counts == {200: 1, 503: 23}
    assert len(student.started) == 1
    assert taken < SOON
    refused = next(reply.result() for reply in replies if reply.result().status == 503)
    assert "the service is being stopped" in refused.content["error"]
    assert refused.headers["retry-after"] == "1"


def test_the_rest_of_a_refused_upload_is_not_awaited(start, localizer):
    with ExitStack() as stack:
        send = stack.enter_context(start(localizer, RequestLimits(megabytes=1)))
        with socket.create_connection(("127.0.0.1", send.port)) as sending:
            sending.sendall(b"POST /localize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n\x89PNG")
            assert sending.recv(4096).startswith(b"HTTP/1.1 413")
            begun = time.monotonic()
            stack.close()
            assert time.monotonic() - begun < SOON


def test_sigterm_under_load_ends_the_command_with_code_0(localizer, photo_file, tmp_path):
    localizer.save(tmp_path / "model")
    command = command_words(["serve", "--checkpoint", str(tmp_path / "model"), "--port", "0"])
    statuses = Counter()
    stopped = threading.Event()

    def load(sender):
        while not stopped.is_set():
            try:
                statuses[sender.photo(photo_file.read_bytes()).status] += 1
            except OSError:  # it no longer listens
                return

    served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        sender = Sender(int(served.stdout.readline().split()[0].rsplit(":", 1)[1]))
        with ThreadPoolExecutor(12) as pool:
            for _ in range(12):
                pool.submit(load, sender)
            while statuses[200] < 12:
                time.sleep(0.01)
            served.send_signal(signal.SIGTERM)
            _, complaints = served.communicate(timeout=SOON)
            stopped.set()
    finally:
        served.kill()
    assert served.returncode == 0
    assert [line for line in complaints.splitlines() if not OTHERS.search(line)] == []
    assert set(statuses) <= {200, 503}
