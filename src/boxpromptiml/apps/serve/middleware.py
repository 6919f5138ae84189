"""Stands before the service: who may ask, and how a refused sender gets to hear of it."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from boxpromptiml.apps.http_security import HEADERS, wrong_asker


class ServiceMiddleware:
    """ASGI middleware.

    An answer that was given before the request was read to its end would be lost: the server closes the connection, and
    the sender, who is still sending, hears of that alone. So the rest is received and thrown away, within limits.

    Args:
        app: the service behind it.
        hosts: names under which it may be asked for; None for any.
        wasted: bytes that are thrown away.
        seconds: for which they are.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, wasted: int, seconds: float) -> None:
        self.app = app
        self.hosts = hosts
        self.wasted = wasted
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        unread = "expect" not in headers  # who asks beforehand whether to send has sent nothing

        async def noting_receive() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_when_read(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            elif not message.get("more_body", False) and unread:
                await send({**message, "more_body": True})
                message = {"type": "http.response.body", "body": b"", "more_body": False}
                taken = 0
                with anyio.move_on_after(self.seconds):
                    while unread and taken <= self.wasted:
                        taken += len((await noting_receive()).get("body", b""))
            await send(message)

        reason = wrong_asker(headers, self.hosts)
        answer: ASGIApp = self.app if reason is None else JSONResponse({"error": reason}, 403)
        await answer(scope, noting_receive, send_when_read)
