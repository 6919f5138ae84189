"""Signals that end a server."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exits_on_sigterm() -> Iterator[None]:
    """End the program with code 0 on SIGTERM, after the clean-up of all context managers; main thread only.

    Without a handler Python ends without clean-up, and as the first process of a container not at all.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
