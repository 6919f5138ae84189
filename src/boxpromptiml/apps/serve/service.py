"""Routes and responses of the service."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from boxpromptiml import __version__
from boxpromptiml.apps.serve.answer import Answer, Form
from boxpromptiml.apps.serve.middleware import ServiceMiddleware
from boxpromptiml.apps.serve.request_handler import RequestHandler
from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.apps.serve.upload import FIELD
from boxpromptiml.core.limits import Threshold
from stage2_distill.inference.localizer import Localizer

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


def service(localizer: Localizer, limits: RequestLimits, hosts: frozenset[str] | None) -> FastAPI:
    """Create the service's app; ``state.shutdown`` is for its server.

    Args:
        localizer: the student.
        limits: limits on photos, time and number of requests.
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
    app.state.shutdown = handler.shutdown
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
        return Response(await handler(request, mask, probability, threshold), media_type="application/json")

    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(
        ServiceMiddleware,
        hosts=hosts,
        wasted=int(WASTED * limits.megabytes * 1e6),
        seconds=limits.seconds,
        shutdown=handler.shutdown,
    )
    return app


async def _refused(_: Request, error: Any) -> Response:
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _misunderstood(_: Request, error: Any) -> Response:
    first = error.errors()[0]
    ours = first.get("ctx", {}).get("error")  # message of a `Limit`
    reason = f"{first['loc'][-1]}: {first['msg']}" if ours is None else f"{first['loc'][-1]} {ours}"
    return JSONResponse({"error": reason}, 422)


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "internal error; see the service's log"}, 500)
