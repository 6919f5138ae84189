"""Signals that end a server."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exits_on_sigterm() -> Iterator[None]:
    """End the program with code 0 on SIGTERM, after the clean-up of all context managers; main thread only.

    Without a handler Python ends without clean-up, and as the first process of a container not at all.
    """

    def stop(*_: object) -> None:
        gc.freeze()  # at its end Python would go through a million objects of the imported packages
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
