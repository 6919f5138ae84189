"""Processing of a request: receive a photo, run the student, encode the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import anyio
import torch
from starlette.exceptions import HTTPException
from starlette.requests import Request

from boxpromptiml.apps.serve.answer import Form, encoded_answer
from boxpromptiml.apps.serve.batching import Batcher
from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.apps.serve.shutdown import Shutdown
from boxpromptiml.apps.serve.upload import Upload, read_upload
from boxpromptiml.images import ImageError, NotAnImageError, Photo, TooLargeError, decode_photo, resize_photo
from stage2_distill.inference.localizer import Localizer

GPU_BATCH = 16
MOST_THREADS = 8
"""Default limit of the student's threads on a CPU: beyond it they mostly wait for the GIL."""
CLIENT_LEFT = 499
"""Status of a request whose client has left, as in nginx; only seen in logs."""


class RequestHandler:
    """Processes requests.

    A photo is processed only while its client waits for it: not after the client has left, not after the time limit,
    and, unless the student has already started on it, not when the service stops.

    Args:
        localizer: the student.
        limits: limits on photos, time and number of requests.
    """

    def __init__(self, localizer: Localizer, limits: RequestLimits) -> None:
        self.localizer = localizer
        self.limits = limits
        self.requests = 0
        self.shutdown = Shutdown()
        on_cpu = localizer.student.mean.device.type == "cpu"
        self._readers = ThreadPoolExecutor(limits.readers, "reader")
        self._batcher = Batcher(
            localizer.localize_scored,
            limits.batch or (1 if on_cpu else GPU_BATCH),
            limits.threads or (min(torch.get_num_threads(), MOST_THREADS) if on_cpu else 1),
        )

    async def __call__(self, request: Request, form: Form, probability: bool, threshold: float | None) -> bytes:
        """Return an `Answer` as JSON.

        Raises:
            HTTPException: see `read_upload`; 408 if the upload takes too long, 413, 415 or 422 if the photo cannot be
                used, 503 if there are too many requests, the response takes too long, or the service stops.
        """
        with self._place(), self._until_stopped() as started:
            upload = await self._received(request)
            with _while_connected(request):
                return await self._answered(upload, started, form, probability, threshold)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self.requests >= self.limits.requests:
            raise _busy(f"{self.requests} photos are being processed, which is the limit")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextmanager
    def _until_stopped(self) -> Iterator[Callable[[], None]]:
        """Break off when the service stops, unless the function that this yields was called before."""
        with self.shutdown.interrupts() as scope:
            yield lambda: self.shutdown.spare(scope)
        if scope.cancelled_caught:
            raise _busy("the service is being stopped")

    async def _received(self, request: Request) -> Upload:
        try:
            with anyio.fail_after(self.limits.seconds):
                return await read_upload(request, int(self.limits.megabytes * 1e6))
        except TimeoutError:
            raise HTTPException(
                408, f"the upload took longer than the limit of {self.limits.seconds:g} seconds; send it again"
            ) from None

    async def _answered(
        self, upload: Upload, started: Callable[[], None], form: Form, probability: bool, threshold: float | None
    ) -> bytes:
        limit = self.localizer.threshold if threshold is None else threshold
        run = asyncio.get_running_loop().run_in_executor
        try:
            with anyio.fail_after(self.limits.seconds):
                small, width, height = await run(self._readers, self._seen, upload)
                found = await self._batcher(small, started)
                return await run(
                    self._readers, encoded_answer, upload.name, found, width, height, form, probability, limit
                )
        except TimeoutError:
            raise _busy(f"the answer took longer than the limit of {self.limits.seconds:g} seconds") from None
        except ImageError as error:
            status = {TooLargeError: 413, NotAnImageError: 415}.get(type(error), 422)
            raise HTTPException(status, str(error)) from None

    def _seen(self, upload: Upload) -> tuple[Photo, int, int]:
        """Decode a photo and shrink it to save memory while it waits; also return its original size."""
        photo = decode_photo(upload.content, upload.name, int(self.limits.megapixels * 1e6))
        side = self.localizer.student.image_size
        return resize_photo(photo, side, side), photo.shape[1], photo.shape[0]


@contextmanager
def _while_connected(request: Request) -> Iterator[None]:
    """Break off when the client closes the connection; the request's body must have been read.

    Raises:
        HTTPException: the client has left.
    """
    with anyio.CancelScope() as scope:
        watch = asyncio.get_running_loop().create_task(_cancel_when_left(request, scope))
        try:
            yield
        finally:
            watch.cancel()
    if scope.cancelled_caught:
        raise HTTPException(CLIENT_LEFT, "the client has closed the connection")


async def _cancel_when_left(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _busy(reason: str) -> HTTPException:
    return HTTPException(503, f"{reason}; try again in a moment", {"Retry-After": "1"})
