"""How processes are started, so that they inherit nothing: commands, work spread over a pool, loaders of samples."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_all_start_methods, get_context, parent_process
from threading import Thread
from typing import Any, Protocol

from tqdm import tqdm


def command_words(words: Iterable[str]) -> list[str]:
    """A command of this program, to be started by `subprocess` with this interpreter and its packages.

    Args:
        words: of the command, without the program's name.
    """
    return [sys.executable, "-m", "boxpromptiml.cli", *words]


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


def loader_processes(workers: int, module: str) -> dict[str, Any]:
    """Arguments of a `torch.utils.data.DataLoader` whose processes do not depend on what ran in this one.

    A fork of this process would inherit the thread pools of OpenCV and OpenMP without their threads, and can wait for
    them for ever. So processes are forked from a server that was started afresh and has only imported; where there is
    no such server, on Windows, each is started afresh. Either way datasets are pickled, and a script without
    ``if __name__ == "__main__":`` can have no such processes.

    Args:
        workers: how many; 0 loads in this process.
        module: of the dataset, which the server imports once for all.
    """
    if workers == 0:
        return {"num_workers": 0}
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([module])
    begin = partial(_begin_loading, dict(os.environ))  # the server keeps that of its own start
    return {"num_workers": workers, "multiprocessing_context": context, "worker_init_fn": begin}


def _begin_loading(environment: dict[str, str], worker: int) -> None:
    os.environ.clear()
    os.environ.update(environment)
    import cv2  # not before: commands that start no such process do without

    cv2.setNumThreads(0)  # the other processes have the other cores


def _begin() -> None:
    import cv2

    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot stop its workers, and they would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
