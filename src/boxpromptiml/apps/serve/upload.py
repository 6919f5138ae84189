"""Extraction of the photo from a request, in memory: nothing is ever written to disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from boxpromptiml.apps.http_security import too_long

FIELD = "photo"
LONGEST_NAME = 100
FORM_OVERHEAD = 4096
"""Maximum number of bytes of a form in addition to the photo."""


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """An uploaded photo; the name is only used in messages."""

    name: str
    content: bytes


async def read_upload(request: Request, limit: int) -> Upload:
    """Read the photo of a request: the file ``photo`` of a form, or the whole body.

    Args:
        request: a request whose body has not been read.
        limit: largest size of a photo in bytes.

    Raises:
        HTTPException: 413 if the photo is too large, 415 if its media type is not an image, 422 if the form is invalid
            or the client disconnects.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "the body is compressed; send the photo's file uncompressed")
    try:
        if kind == "multipart/form-data":
            return await _from_form(request, limit)
        if kind in ("", "application/octet-stream") or kind.startswith("image/"):
            return Upload(FIELD, b"".join([chunk async for chunk in _limited(request, limit)]))
    except ClientDisconnect:
        raise HTTPException(422, "the upload ended early; send the photo again") from None
    raise HTTPException(
        415,
        f"the content type is {printable(kind)}; send image/jpeg or another image type, or a form with the file "
        f"{FIELD}",
    )


def printable(text: str) -> str:
    """Shorten untrusted text and replace unprintable characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_NAME])


class _InMemory(MultiPartParser):
    """Starlette's form parser without writing files above a megabyte to disk."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], limit: int) -> None:
        super().__init__(headers, stream, max_files=1, max_fields=0)
        self.spool_max_size = limit + FORM_OVERHEAD  # never exceeded


async def _from_form(request: Request, limit: int) -> Upload:
    parser = _InMemory(request.headers, _limited(request, limit, FORM_OVERHEAD), limit)
    try:
        photo = (await parser.parse()).get(FIELD)
    except MultiPartException as error:
        raise HTTPException(422, f"the form cannot be read: {printable(error.message)}") from None
    if not isinstance(photo, UploadFile):
        raise HTTPException(422, f"the form has no file called {FIELD}; add one, as in curl -F {FIELD}=@photo.jpg")
    try:
        content = await photo.read()
    finally:
        await photo.close()
    if len(content) > limit:
        raise _too_large(limit)
    return Upload(printable(photo.filename or "") or FIELD, content)


async def _limited(request: Request, limit: int, overhead: int = 0) -> AsyncGenerator[bytes, None]:
    if too_long(request.headers, limit + overhead):
        raise _too_large(limit)
    taken = 0
    async for chunk in request.stream():
        taken += len(chunk)
        if taken > limit + overhead:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> HTTPException:
    return HTTPException(
        413, f"the photo is larger than the limit of {limit / 1e6:g} MB; shrink it or compress it more"
    )
