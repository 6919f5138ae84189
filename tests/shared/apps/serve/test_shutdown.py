"""A shutdown cancels what is not spared, whether it was begun before or after."""

from concurrent.futures import ThreadPoolExecutor

import anyio

from boxpromptiml.apps.serve.shutdown import Shutdown


def test_blocks_are_cancelled_unless_they_are_spared():
    ended = {}

    async def work(shutdown, name, spared=False):
        with shutdown.interrupts() as scope:
            if spared:
                shutdown.spare(scope)
            await anyio.sleep(0.05)
        ended[name] = not scope.cancelled_caught

    async def main():
        shutdown = Shutdown()
        async with anyio.create_task_group() as group:
            group.start_soon(work, shutdown, "waiting")
            group.start_soon(work, shutdown, "computing", True)
            await anyio.sleep(0.01)
            shutdown.begin()
            group.start_soon(work, shutdown, "late")

    with ThreadPoolExecutor(1) as pool:  # browser tests leave an event loop running in this thread
        pool.submit(anyio.run, main).result()
    assert ended == {"waiting": False, "late": False, "computing": True}
