"""Middleware of the service: access check, response headers, and reliable delivery of early responses."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from boxpromptiml.apps.http_security import HEADERS, rejection
from boxpromptiml.apps.serve.shutdown import Shutdown


class ServiceMiddleware:
    """ASGI middleware.

    If the app responds before it has read the whole request, the server closes the connection, and a client that is
    still sending never sees the response. The middleware therefore receives and discards the rest of the request,
    within limits.

    Args:
        app: the service.
        hosts: accepted host names; None for any.
        wasted: maximum number of discarded bytes.
        seconds: maximum time for discarding.
        shutdown: ends the discarding when the service stops.
    """

    def __init__(
        self, app: ASGIApp, hosts: frozenset[str] | None, wasted: int, seconds: float, shutdown: Shutdown
    ) -> None:
        self.app = app
        self.hosts = hosts
        self.wasted = wasted
        self.seconds = seconds
        self.shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject a request or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        unread = "expect" not in headers  # with Expect: 100-continue the client has not sent anything yet

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
                with self.shutdown.interrupts(), anyio.move_on_after(self.seconds):
                    while unread and taken <= self.wasted:
                        taken += len((await noting_receive()).get("body", b""))
            await send(message)

        reason = rejection(headers, self.hosts)
        handler: ASGIApp = self.app if reason is None else JSONResponse({"error": reason}, 403)
        await handler(scope, noting_receive, send_when_read)
