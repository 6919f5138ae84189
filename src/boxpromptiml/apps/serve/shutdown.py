"""Shutdown of the service: photos being processed are finished, all other requests are cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Shutdown:
    """Blocks of code that are cancelled when the service stops, so that it ends within seconds under any load."""

    def __init__(self) -> None:
        self._begun = False
        self._scopes: set[anyio.CancelScope] = set()

    @contextmanager
    def interrupts(self) -> Iterator[anyio.CancelScope]:
        """Cancel the block if the service stops meanwhile, or has already begun to; its scope tells whether it was."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            if self._begun:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def spare(self, scope: anyio.CancelScope) -> None:
        """Let a block finish from now on."""
        self._scopes.discard(scope)

    def begin(self) -> None:
        """Cancel all blocks that are not spared; to be called in the event loop."""
        self._begun = True
        for scope in self._scopes:
            scope.cancel()
