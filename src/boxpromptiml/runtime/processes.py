"""Starting processes that inherit no state: commands, process pools and data-loader workers."""

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
    """Return a command of this program for `subprocess`, run with the same interpreter and packages.

    Args:
        words: command-line arguments, without the program's name.
    """
    return [sys.executable, "-m", "boxpromptiml.cli", *words]


class ParallelMap(Protocol):
    """Apply a picklable function to items and return the results in the order of the items."""

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any], unit: str) -> Iterable[Any]:
        """Show a progress bar that counts in ``unit``."""


@contextmanager
def processes(workers: int) -> Iterator[ParallelMap]:
    """Create a process pool, which starts on first use. With one worker the work is done in this process.

    Workers are spawned, so that on no platform they inherit threads or locks.
    """
    if workers <= 1:
        yield lambda function, items, unit: tqdm(map(function, items), total=len(items), unit=f" {unit}")
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin) as pool:
        yield lambda function, items, unit: tqdm(
            pool.map(function, items, chunksize=16), total=len(items), unit=f" {unit}"
        )


def loader_processes(workers: int, module: str) -> dict[str, Any]:
    """Return `torch.utils.data.DataLoader` arguments for workers that do not depend on the state of this process.

    A fork of this process would inherit the thread pools of OpenCV and OpenMP without their threads and could hang.
    Workers are therefore forked from a fresh server process that has only done imports or, on Windows, which has no
    such server, spawned. Either way datasets are pickled, and a script needs an ``if __name__ == "__main__":`` guard.

    Args:
        workers: number of workers; 0 loads in this process.
        module: name of the dataset's module, which the server imports once for all workers.
    """
    if workers == 0:
        return {"num_workers": 0}
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([module])
    begin = partial(_begin_loading, dict(os.environ))  # the server keeps the environment it was started with
    return {"num_workers": workers, "multiprocessing_context": context, "worker_init_fn": begin}


def _begin_loading(environment: dict[str, str], worker: int) -> None:
    os.environ.clear()
    os.environ.update(environment)
    import cv2  # here, because commands without workers do not need it

    cv2.setNumThreads(0)  # the other cores are used by the other workers


def _begin() -> None:
    import cv2

    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent dies: a killed parent cannot stop its workers, which would wait forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
