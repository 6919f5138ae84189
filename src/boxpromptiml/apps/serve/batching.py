"""Batching of photos that arrive while the student is busy."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from boxpromptiml.images import Photo, Probability

Waiting = tuple[Photo, "asyncio.Future[Probability]"]


class Batcher:
    """Collects photos that arrive while the student is busy, and passes them on as a batch.

    A single photo is thus processed without delay, and batches grow with the load.

    Args:
        localize: maps photos to probabilities; called in a separate thread.
        size: largest batch.
    """

    def __init__(self, localize: Callable[[Sequence[Photo]], Sequence[Probability]], size: int) -> None:
        self.size = size
        self._localize = localize
        self._thread = ThreadPoolExecutor(1, "student")
        self._waiting: deque[Waiting] = deque()
        self._work: asyncio.Task[None] | None = None

    async def __call__(self, photo: Photo) -> Probability:
        """Predict one photo. If the call is cancelled while it waits, the photo is dropped."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Probability] = loop.create_future()
        self._waiting.append((photo, future))
        if self._work is None:
            self._work = loop.create_task(self._until_done())
        return await future

    async def _until_done(self) -> None:
        try:
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(self.size, len(self._waiting)))]
                await self._answer([(photo, future) for photo, future in some if not future.done()])
        finally:
            self._work = None

    async def _answer(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        photos = [photo for photo, _ in batch]
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._localize, photos)
        except Exception as error:  # pass any error on to the waiting requests
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), probability in zip(batch, found, strict=True):
            if not future.done():
                future.set_result(probability)
