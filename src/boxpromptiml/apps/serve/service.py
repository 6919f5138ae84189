"""Routes and responses of the service."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal

import anyio
import cv2
import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from boxpromptiml import __version__
from boxpromptiml.apps.serve.batching import Batcher
from boxpromptiml.apps.serve.middleware import ServiceMiddleware
from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.apps.serve.upload import FIELD, Upload, read_upload
from boxpromptiml.core.limits import Threshold
from boxpromptiml.images import (
    ImageError,
    Mask,
    NotAnImageError,
    Photo,
    Probability,
    TooLargeError,
    decode_photo,
    resize_photo,
    resize_probability,
    to_uint8,
)
from boxpromptiml.images.connected_regions import Polygon, find_regions, run_lengths
from stage2_distill.inference.localizer import Localizer

Form = Literal["png", "rle", "none"]
OPTIONS = {"mask", "probability", "threshold"}
"""Allowed query parameters."""
WASTED = 4
"""How much of a rejected request is received, as a multiple of the largest photo, so that the client sees the error."""
SENT = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class RegionFound(BaseModel):
    """A connected region of manipulated pixels; vertices are at the edges of pixels."""

    box_xyxy: tuple[int, int, int, int]
    score: float
    area: int
    outline: Polygon
    holes: list[Polygon]


class RunLengths(BaseModel):
    """A mask in the format of pycocotools; `size` is height and width."""

    size: tuple[int, int]
    counts: str


class Answer(BaseModel):
    """Prediction for a photo, at its own size, upright."""

    file: str
    width: int
    height: int
    score: float
    area: float
    threshold: float
    regions: list[RegionFound]
    mask: str | RunLengths | None
    probability: str | None


class Refusal(BaseModel):
    """An error, in one line."""

    error: str


class Health(BaseModel):
    """Status of the service, and the number of requests being processed."""

    model_config = ConfigDict(json_schema_extra={"description": "`status` is ok whenever the service answers."})

    status: Literal["ok"] = "ok"
    version: str = __version__
    weights_sha256: str
    threshold: float
    requests: int


class RequestHandler:
    """Processes requests: receive a photo, run the student, encode the response.

    Args:
        localizer: the student.
        limits: of requests.
    """

    def __init__(self, localizer: Localizer, limits: RequestLimits) -> None:
        self.localizer = localizer
        self.limits = limits
        self.requests = 0
        self._readers = ThreadPoolExecutor(limits.readers, "reader")
        self._batcher = Batcher(localizer.localize, limits.batch)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Reserve a slot for a request.

        Raises:
            HTTPException: 503 if all slots are in use.
        """
        if self.requests >= self.limits.requests:
            raise _busy(f"{self.requests} photos are being processed, which is the limit")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    async def received(self, request: Request) -> Upload:
        """Receive the photo of a request.

        Raises:
            HTTPException: see `read_upload`; 408 if it takes too long.
        """
        try:
            with anyio.fail_after(self.limits.seconds):
                return await read_upload(request, int(self.limits.megabytes * 1e6))
        except TimeoutError:
            raise HTTPException(
                408, f"the upload took longer than the limit of {self.limits.seconds:g} seconds; send it again"
            ) from None

    async def answered(self, upload: Upload, form: Form, probability: bool, threshold: float | None) -> bytes:
        """Run the student and encode an `Answer` as JSON.

        Raises:
            HTTPException: 413, 415 or 422 if the photo cannot be used, 503 if the response takes too long.
        """
        limit = self.localizer.threshold if threshold is None else threshold
        run = asyncio.get_running_loop().run_in_executor
        try:
            with anyio.fail_after(self.limits.seconds):
                small, width, height = await run(self._readers, self._seen, upload)
                found = await self._batcher(small)
                return await run(self._readers, _response, upload.name, found, width, height, form, probability, limit)
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


def service(localizer: Localizer, limits: RequestLimits, hosts: frozenset[str] | None) -> FastAPI:
    """Create the service's app.

    Args:
        localizer: the student.
        limits: of requests.
        hosts: accepted host names; None for any.
    """
    app = FastAPIOffline(  # serves the scripts of /docs itself
        title="BoxPromptIML",
        summary="Which pixels of this photo were manipulated?",
        version=__version__,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    handler = RequestHandler(localizer, limits)
    weights = localizer.weights_sha256()

    @app.get("/health")
    async def health() -> Health:
        """Report that the service is running, and with which student."""
        return Health(weights_sha256=weights, threshold=localizer.threshold, requests=handler.requests)

    @app.post(
        "/localize",
        response_model=Answer,
        responses={status: {"model": Refusal} for status in (408, 413, 415, 422, 503)},
        openapi_extra=SENT,
    )
    async def localize(
        request: Request,
        mask: Annotated[Form, Query(description="8-bit PNG in base64, 255 = manipulated; COCO's run lengths")] = "png",
        probability: Annotated[bool, Query(description="add it as 8-bit PNG in base64, 255 = certain")] = False,
        threshold: Annotated[Threshold | None, Query(description="instead of the student's own")] = None,
    ) -> Response:
        """Localize manipulations in one photo: the file `photo` of a form, or the request's body. Nothing is stored."""
        if unknown := sorted(set(request.query_params) - OPTIONS):
            raise HTTPException(422, f"unknown option {unknown[0]!r}; the options are: {', '.join(sorted(OPTIONS))}")
        with handler.place():
            content = await handler.answered(await handler.received(request), mask, probability, threshold)
        return Response(content, media_type="application/json")

    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(
        ServiceMiddleware, hosts=hosts, wasted=int(WASTED * limits.megabytes * 1e6), seconds=limits.seconds
    )
    return app


def _response(
    name: str, found: Probability, width: int, height: int, form: Form, probability: bool, threshold: float
) -> bytes:
    whole = resize_probability(found, width, height)
    mask = whole > threshold
    return (
        Answer(
            file=name,
            width=width,
            height=height,
            score=float(whole.max()),
            area=float(mask.mean()),
            threshold=threshold,
            regions=[RegionFound(**asdict(region)) for region in find_regions(whole, threshold)],
            mask=_encoded_mask(mask, form),
            probability=_png(to_uint8(whole)) if probability else None,
        )
        .model_dump_json()
        .encode()
    )


def _encoded_mask(mask: Mask, form: Form) -> str | RunLengths | None:
    if form == "rle":
        return RunLengths.model_validate(run_lengths(mask))
    return _png(mask * np.uint8(255)) if form == "png" else None


def _png(picture: NDArray[np.uint8]) -> str:
    _, content = cv2.imencode(".png", picture)
    return base64.b64encode(content.tobytes()).decode()


def _busy(reason: str) -> HTTPException:
    return HTTPException(503, f"{reason}; try again in a moment", {"Retry-After": "1"})


async def _refused(_: Request, error: Any) -> Response:
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _misunderstood(_: Request, error: Any) -> Response:
    first = error.errors()[0]
    ours = first.get("ctx", {}).get("error")  # message of a `Limit`
    reason = f"{first['loc'][-1]}: {first['msg']}" if ours is None else f"{first['loc'][-1]} {ours}"
    return JSONResponse({"error": reason}, 422)


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "internal error; see the service's log"}, 500)
