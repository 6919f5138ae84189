"""Gets the photo out of a request, in memory: nothing that is sent ever touches a disk."""

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
"""Bytes that a form may have besides the photo."""


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """What was sent; the name is for messages alone, no file is ever called so."""

    name: str
    content: bytes


async def read_upload(request: Request, limit: int) -> Upload:
    """The photo of a request: the file ``photo`` of a form, or the whole body.

    Args:
        request: whose body was not read yet.
        limit: bytes of the largest photo.

    Raises:
        HTTPException: 413 when there are more bytes, 415 when they are said to be no image, 422 when the form cannot be
            read or the sender leaves.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "the body is compressed; send the photo's file as it is")
    try:
        if kind == "multipart/form-data":
            return await _from_form(request, limit)
        if kind in ("", "application/octet-stream") or kind.startswith("image/"):
            return Upload(FIELD, b"".join([chunk async for chunk in _limited(request, limit)]))
    except ClientDisconnect:
        raise HTTPException(422, "the photo did not come to its end; send it again") from None
    raise HTTPException(
        415, f"the content type is {printable(kind)}; send image/jpeg and the like, or a form with the file {FIELD}"
    )


def printable(text: str) -> str:
    """Text from a stranger, short and on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_NAME])


class _InMemory(MultiPartParser):
    """Starlette's parser of forms, which would write photos of more than a megabyte to disk."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], limit: int) -> None:
        super().__init__(headers, stream, max_files=1, max_fields=0)
        self.spool_max_size = limit + FORM_OVERHEAD  # more bytes never come


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
    return HTTPException(413, f"the photo has more than {limit / 1e6:g} MB, the limit; shrink it or compress it more")
