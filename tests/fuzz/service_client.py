"""A client that sends valid and malformed requests to the service over real connections."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from boxpromptiml import Localizer
from boxpromptiml.apps.http_security import LOOPBACK
from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.apps.serve.server import server
from boxpromptiml.apps.serve.service import service


@dataclass(frozen=True)
class Reply:
    """Response of the service."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def content(self) -> Any:
        """Body, decoded as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Sender:
    """Client that sends each request over a new connection.

    Attributes:
        port: Port of a service on this machine.
    """

    port: int

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request; underscores in header names become hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def photo(self, content: bytes, name: str | bytes = "photo.jpg", query: str = "") -> Reply:
        """POST a photo as browsers and curl do, as multipart form data."""
        name = name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
        head = b'--limit\r\nContent-Disposition: form-data; name="photo"; filename="' + name
        body = head + b'"\r\nContent-Type: image/jpeg\r\n\r\n' + content + b"\r\n--limit--\r\n"
        return self("POST", f"/localize{query}", body, content_type="multipart/form-data; boundary=limit")


@contextmanager
def served(localizer: Localizer, limits: RequestLimits) -> Iterator[Sender]:
    """Run a service in a thread of this process."""
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
