"""Batching of photos that arrive while the student is busy."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from boxpromptiml.images import Photo
from stage2_distill.inference.scored_map import ScoredMap


@dataclass(slots=True, eq=False)
class _Waiting:
    """A photo that has not been predicted yet."""

    photo: Photo
    future: asyncio.Future[ScoredMap]
    started: Callable[[], None]


class Batcher:
    """Collects photos that arrive while the student is busy, and passes them on in batches, first come, first served.

    A single photo is thus processed without delay, and batches grow with the load.

    Args:
        localize: maps photos to maps with scores; called in other threads.
        size: largest batch.
        threads: number of batches processed concurrently; they share torch's threads.
    """

    def __init__(self, localize: Callable[[Sequence[Photo]], Sequence[ScoredMap]], size: int, threads: int = 1) -> None:
        self.size = size
        self.threads = threads
        self._localize = localize
        share = partial(torch.set_num_threads, max(1, torch.get_num_threads() // threads))
        self._pool = ThreadPoolExecutor(threads, "student", initializer=share)
        self._waiting: deque[_Waiting] = deque()
        self._work: set[asyncio.Task[None]] = set()

    async def __call__(self, photo: Photo, started: Callable[[], None] = lambda: None) -> ScoredMap:
        """Predict one photo. If the call is cancelled while it waits, the photo is dropped.

        Args:
            photo: (H, W, 3) uint8 RGB of any size.
            started: called when the student starts with it.
        """
        future: asyncio.Future[ScoredMap] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(photo, future, started))
        self._start()
        return await future

    def _start(self) -> None:
        while len(self._work) < self.threads and (batch := self._next()):
            task = asyncio.get_running_loop().create_task(self._answer(batch))
            self._work.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._start()

    def _next(self) -> list[_Waiting]:
        """Remove and return the photos of the next batch, without those that nobody waits for any more."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self.size:
            first = self._waiting.popleft()
            if not first.future.done():
                batch.append(first)
                first.started()
        return batch

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        photos = [each.photo for each in batch]
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._pool, self._localize, photos)
        except Exception as error:  # pass any error on to the waiting requests
            for each in batch:
                if not each.future.done():
                    each.future.set_exception(error)
            return
        for each, result in zip(batch, found, strict=True):
            if not each.future.done():
                each.future.set_result(result)
