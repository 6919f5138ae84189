"""Text and JSON from strangers' tools, decoded in one place: with the byte-order marks and the NaN that they write."""

from __future__ import annotations

import codecs
import json
from typing import TypeVar

import msgspec

Shape = TypeVar("Shape")


class ShapeError(ValueError):
    """JSON of another shape than was expected. Its text ends with the path inside."""


def decode_text(content: bytes, errors: str = "strict") -> str:
    """Content of a text file in UTF-8, or in UTF-16 where a byte-order mark says so, as PowerShell's ``>`` writes it.

    Raises:
        UnicodeDecodeError: it is neither, and ``errors``, of `bytes.decode`, does not forgive that.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace" if errors == "surrogateescape" else errors)  # which knows bytes alone
    return content.decode("utf-8-sig", errors)


def decode_json(content: bytes, shape: type[Shape]) -> Shape:
    """Content of a JSON file as a type that msgspec knows.

    What msgspec refuses is given to the standard library: byte-order marks, UTF-16 and UTF-32, which Windows writes,
    and ``NaN``, which tools written in Python write. Such a number then costs one image and not the file.

    Raises:
        ShapeError: it has another shape. msgspec's own error is no ValueError before 0.21.
        ValueError: it is not JSON.
        RecursionError: it is nested too deep.
    """
    try:
        return _decoded(content, shape)
    except msgspec.ValidationError as error:
        raise ShapeError(str(error)) from None


def _decoded(content: bytes, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = json.loads(content)
    json.dumps(value, ensure_ascii=False).encode()  # refuses halves of a character, which nothing in UTF-8 can hold
    return msgspec.convert(value, shape)
