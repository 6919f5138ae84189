"""Middleware of the web app: checks of origin, route and size of requests.

Gradio provides many routes that the app does not need (a proxy, run logs, code editing, APIs). Only the routes that it
needs are accepted, so routes added by later versions stay blocked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from boxpromptiml.apps.http_security import headers_framed_by, rejection, too_long

FILES = "/gradio_api/file="
UPLOAD = "/gradio_api/upload"
READABLE = frozenset(
    {
        "/",
        "/config",
        "/theme.css",
        "/favicon.ico",
        "/gradio_api/startup-events",
        "/gradio_api/queue/data",
        "/gradio_api/upload_progress",
    }
)
READABLE_BELOW = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/", "/gradio_api/custom_component/", FILES)
WRITABLE = frozenset({UPLOAD, "/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"})
MAX_MESSAGE = 1 << 20
"""Maximum number of bytes of a request other than a photo."""


class PageMiddleware:
    """ASGI middleware that rejects unwanted requests.

    Args:
        app: the server.
        folder: the only folder from which files are served.
        max_upload: maximum number of bytes of a photo.
        hosts: accepted host names, as in `rejection`.
        framed_by: sites that may embed the app in a frame.
    """

    def __init__(
        self,
        app: ASGIApp,
        folder: Path,
        max_upload: int,
        hosts: frozenset[str] | None,
        framed_by: Sequence[str] = (),
    ) -> None:
        self.app = app
        self.folder = folder.resolve()
        self.max_upload = max_upload
        self.hosts = hosts
        self.headers = headers_framed_by(framed_by)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject a request or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the app does not accept {scope['type']} connections")
        refusal = self.refusal(scope["method"], scope["path"], Headers(scope=scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        handler: ASGIApp = PlainTextResponse(refusal[1], refusal[0]) if refusal else self.app
        await handler(scope, receive, send_with_headers)

    def refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        """Return status and reason if a request is rejected, or None.

        Args:
            method: GET, HEAD, POST, …
            path: decoded, without the query.
            headers: request headers.
        """
        if reason := rejection(headers, self.hosts):
            return 403, reason
        return self._wrong_route(method, path) or self._too_much(method, path, headers)

    def _wrong_route(self, method: str, path: str) -> tuple[int, str] | None:
        if method == "POST":
            return None if path in WRITABLE else (404, "Not found.")
        if method not in ("GET", "HEAD"):
            return 405, "Only GET and POST are allowed."
        if path not in READABLE and not path.startswith(READABLE_BELOW):
            return 404, "Not found."
        if path.startswith(FILES) and not self._is_ours(path.removeprefix(FILES)):
            return 403, "This file is not part of the app."
        return None

    def _is_ours(self, name: str) -> bool:
        try:
            return Path(name).is_absolute() and Path(name).resolve(strict=True).is_relative_to(self.folder)
        except (OSError, ValueError, RuntimeError):  # no such file, a null byte in the name, a symlink loop
            return False

    def _too_much(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        if method != "POST":
            return None
        length = headers.get("content-length", "")
        if not length.isascii() or not length.isdigit():
            return 411, "The header Content-Length is missing."
        if too_long(headers, self.max_upload + MAX_MESSAGE if path == UPLOAD else MAX_MESSAGE):
            return 413, f"Too large: photos may have up to {self.max_upload / 1e6:,.0f} MB."
        return None
