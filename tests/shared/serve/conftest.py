"""A service with a small student, on a port of its own. Needs the extra ``serve``."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

for needed in ("fastapi", "uvicorn", "python_multipart"):
    pytest.importorskip(needed, reason="the service is the extra `serve`: pip install 'boxpromptiml[serve]'")

SIZE = 64


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def content(self):
        return json.loads(self.body)


class Sender:
    """Sends requests to a service, each on a connection of its own."""

    def __init__(self, port):
        self.port = port

    def __call__(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def photo(self, content, name="photo.jpg", query="", field="photo"):
        """POST a photo as browsers and curl do: in a form."""
        head = f'--limit\r\nContent-Disposition: form-data; name="{field}"; filename="'.encode()
        name = name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
        body = head + name + b'"\r\nContent-Type: image/jpeg\r\n\r\n' + content + b"\r\n--limit--\r\n"
        return self("POST", f"/localize{query}", body, content_type="multipart/form-data; boundary=limit")


@pytest.fixture(scope="session")
def localizer():
    from stage2_distill.localizer import Localizer
    from stage2_distill.student import Student

    student = Student("mobilenetv3_small_050", pretrained=False, image_size=SIZE, channels=16, prototypes=4)
    return Localizer.from_student(student, threshold=0.4, calibration="of a test")


@pytest.fixture(scope="session")
def start():
    """A context in which a student is served; gives what sends requests to it."""
    from boxpromptiml.serve.command import server
    from boxpromptiml.serve.service import service
    from boxpromptiml.web import LOOPBACK

    @contextmanager
    def start(localizer, limits):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            running = server(service(localizer, limits, LOOPBACK), limits)
            thread = threading.Thread(target=running.run, args=([listener],))
            thread.start()
            while not running.started:
                time.sleep(0.01)
            try:
                yield Sender(listener.getsockname()[1])
            finally:
                running.should_exit = True
                thread.join()

    return start


@pytest.fixture(scope="session")
def send(start, localizer):
    """A service with small limits."""
    from boxpromptiml.serve.limits import Limits

    with start(localizer, Limits(megabytes=1, megapixels=1, seconds=20)) as sender:
        yield sender


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory):
    """A photo, 90 × 70."""
    path = tmp_path_factory.mktemp("mine") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(path)
    return path
