"""Photos that arrive while the student is busy are batched."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from boxpromptiml.apps.serve.batching import Batcher


class Student:
    """Returns the first value of each photo as its result, and records the batches."""

    def __init__(self):
        self.batches = []
        self.free = threading.Event()

    def __call__(self, photos):
        self.batches.append([int(photo[0, 0, 0]) for photo in photos])
        self.free.wait(10)
        return [photo[..., 0].astype(np.float32) for photo in photos]


def run(coroutine):
    """Run a coroutine in a new thread, since browser tests leave an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def photo(value):
    return np.full((2, 2, 3), value, np.uint8)


def test_the_first_photo_runs_at_once_and_later_ones_as_a_batch():
    student = Student()

    async def ask():
        batcher = Batcher(student, 3)
        answers = [asyncio.create_task(batcher(photo(0)))]
        while not student.batches:
            await asyncio.sleep(0.001)
        answers += [asyncio.create_task(batcher(photo(i))) for i in range(1, 6)]
        await asyncio.sleep(0.01)
        answers[2].cancel()
        student.free.set()
        return await asyncio.gather(*answers, return_exceptions=True)

    found = run(ask())
    assert student.batches == [[0], [1, 3, 4], [5]]
    assert isinstance(found.pop(2), asyncio.CancelledError)
    assert [int(each[0, 0]) for each in found] == [0, 1, 3, 4, 5]


def test_a_failure_reaches_its_caller_and_later_photos_still_work():
    def localize(photos):
        if photos[0].max() == 0:
            raise RuntimeError("broken")
        return [photo[..., 0] for photo in photos]

    async def ask():
        batcher = Batcher(localize, 1)
        with pytest.raises(RuntimeError, match="broken"):
            await batcher(photo(0))
        return await batcher(photo(7))

    assert run(ask()).max() == 7


def test_as_many_batches_as_threads_run_at_once():
    student = Student()
    started = []

    async def ask():
        batcher = Batcher(student, 1, threads=2)
        answers = [asyncio.create_task(batcher(photo(i), lambda i=i: started.append(i))) for i in range(4)]
        while len(student.batches) < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        before = list(started)
        student.free.set()
        await asyncio.gather(*answers)
        return before

    assert run(ask()) == [0, 1]
    assert sorted(started) == [0, 1, 2, 3]
    assert sorted(student.batches) == [[0], [1], [2], [3]]
