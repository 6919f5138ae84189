"""Work spread over processes, in order and under a progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Protocol

import cv2
from tqdm import tqdm


class Spread(Protocol):
    """Apply a picklable function to items and give the results in the items' order."""

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any], unit: str) -> Iterable[Any]:
        """Show a progress bar that counts in ``unit``."""


@contextmanager
def processes(workers: int) -> Iterator[Spread]:
    """A pool that starts with its first use; one worker means this process.

    Processes are started afresh (spawn), so that none inherits a thread or a lock, on any platform.
    """
    if workers <= 1:
        yield lambda function, items, unit: tqdm(map(function, items), total=len(items), unit=f" {unit}")
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin) as pool:
        yield lambda function, items, unit: tqdm(
            pool.map(function, items, chunksize=16), total=len(items), unit=f" {unit}"
        )


def _begin() -> None:
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot stop its workers, and they would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
