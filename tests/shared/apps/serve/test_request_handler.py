"""Requests are processed within the limits, and only while somebody waits for the response."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from boxpromptiml import Localizer
from boxpromptiml.apps.serve.request_limits import RequestLimits


class Gate:
    """Holds the student until it is opened, and counts the photos that the student starts with."""

    def __init__(self):
        self.opened = threading.Event()
        self.started = 0

    def pass_through(self, localize):
        def held(localizer, photos):
            self.started += len(photos)
            self.opened.wait(20)
            return localize(localizer, photos)

        return held


@pytest.fixture
def gate(localizer, monkeypatch):
    """A student that waits for a signal before it processes photos."""
    gate = Gate()
    monkeypatch.setattr(Localizer, "localize_scored", gate.pass_through(Localizer.localize_scored))
    yield gate
    gate.opened.set()


def until(condition):
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_requests_beyond_the_queue_are_asked_to_retry(start, localizer, gate, photo_file):
    with start(localizer, RequestLimits(requests=2)) as send, ThreadPoolExecutor(2) as pool:
        first = [pool.submit(send.photo, photo_file.read_bytes()) for _ in range(2)]
        until(lambda: send("GET", "/health").content["requests"] == 2)
        refused = send.photo(photo_file.read_bytes())
        gate.opened.set()
        assert [reply.result().status for reply in first] == [200, 200]
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert "try again" in refused.content["error"]
        assert send.photo(photo_file.read_bytes()).status == 200


def test_a_slow_request_times_out(start, localizer, gate, photo_file):
    with start(localizer, RequestLimits(seconds=0.3)) as send:
        late = send.photo(photo_file.read_bytes())
        assert (late.status, late.headers["retry-after"]) == (503, "1")
        with socket.create_connection(("127.0.0.1", send.port)) as sending:
            sending.sendall(b"POST /localize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n\x89PNG")
            reply = sending.recv(4096)
        assert reply.startswith(b"HTTP/1.1 408")
        gate.opened.set()
        assert send("GET", "/health").content["requests"] == 0


def test_photos_are_not_processed_after_their_time_limit(start, localizer, gate, photo_file):
    with start(localizer, RequestLimits(seconds=1, threads=1)) as send, ThreadPoolExecutor(5) as pool:
        late = list(pool.map(send.photo, [photo_file.read_bytes()] * 5))
        assert [reply.status for reply in late] == [503] * 5
        gate.opened.set()
        assert send.photo(photo_file.read_bytes()).status == 200
    assert gate.started == 2


def test_photos_of_clients_that_have_left_are_not_processed(start, localizer, gate, photo_file):
    content = photo_file.read_bytes()
    head = f"POST /localize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with start(localizer, RequestLimits(threads=1)) as send, ThreadPoolExecutor(1) as pool:
        first = pool.submit(send.photo, content)
        until(lambda: gate.started == 1)
        leaving = [socket.create_connection(("127.0.0.1", send.port)) for _ in range(4)]
        for connection in leaving:
            connection.sendall(head + content)
        until(lambda: send("GET", "/health").content["requests"] == 5)
        for connection in leaving:
            connection.close()
        until(lambda: send("GET", "/health").content["requests"] == 1)
        gate.opened.set()
        assert first.result().status == 200
        assert send.photo(content).status == 200
    assert gate.started == 2


@pytest.mark.parametrize(
    ("limits", "at_once"), [({"threads": 2}, 2), ({"threads": 1, "batch": 3}, 1), ({"threads": 1}, 1)]
)
def test_a_photo_for_each_thread_or_a_batch_if_asked_for(start, localizer, gate, photo_file, limits, at_once):
    with start(localizer, RequestLimits(**limits)) as send, ThreadPoolExecutor(4) as pool:
        replies = [pool.submit(send.photo, photo_file.read_bytes()) for _ in range(4)]
        until(lambda: send("GET", "/health").content["requests"] == 4)
        until(lambda: gate.started == at_once)
        time.sleep(0.05)
        assert gate.started == at_once
        gate.opened.set()
        assert [reply.result().status for reply in replies] == [200] * 4
