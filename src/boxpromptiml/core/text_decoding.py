"""Decoding of text and JSON written by other tools, including byte-order marks and NaN."""

from __future__ import annotations

import codecs
import json
from typing import TypeVar

import msgspec

Shape = TypeVar("Shape")


class ShapeError(ValueError):
    """JSON with an unexpected structure. The message ends with the path of the offending value."""


def decode_text(content: bytes, errors: str = "strict") -> str:
    """Decode a text file in UTF-8, or in UTF-16 if it has a byte-order mark (PowerShell's ``>`` writes such files).

    Raises:
        UnicodeDecodeError: it is neither, and ``errors`` (as in `bytes.decode`) does not tolerate that.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace" if errors == "surrogateescape" else errors)  # not surrogateescape
    return content.decode("utf-8-sig", errors)


def decode_json(content: bytes, shape: type[Shape]) -> Shape:
    """Decode a JSON file into a type that msgspec supports.

    Content that msgspec rejects is passed to the standard library, which accepts byte-order marks, UTF-16 and UTF-32
    (from Windows) and ``NaN`` (from Python tools). A NaN then only invalidates one image instead of the file.

    Raises:
        ShapeError: the structure differs from ``shape``. (msgspec's own error is not a ValueError before 0.21.)
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
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
    json.dumps(value, ensure_ascii=False).encode()  # rejects lone surrogates, which UTF-8 cannot represent
    return msgspec.convert(value, shape)
