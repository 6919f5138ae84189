"""The server that a service runs in."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.apps.serve.shutdown import Shutdown

CONNECTIONS = 4
"""Allowed connections, as a multiple of the concurrent requests. Further connections get a bare 503."""
GRACE = 8
"""Time in seconds for requests that are being answered when the service stops; `docker stop` kills after 10."""


class Server(uvicorn.Server):
    """Server that answers the photos being computed when it stops, and refuses all others at once.

    Args:
        config: uvicorn's configuration of the server.
        ending: shutdown of its service, begun when the server stops.
    """

    def __init__(self, config: uvicorn.Config, ending: Shutdown) -> None:
        super().__init__(config)
        self.ending = ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections, and end those that there are."""
        self.ending.begin()
        await super().shutdown(sockets)


def server(app: FastAPI, limits: RequestLimits) -> Server:
    """Create the server for a service; its ``run([socket])`` serves until a signal or ``should_exit``."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=CONNECTIONS * limits.requests,
    )
    return Server(config, app.state.shutdown)
