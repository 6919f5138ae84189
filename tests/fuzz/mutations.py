"""Changes to files that a fuzzer makes: bytes, lengths, numbers and words."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

WORDS = rb'"[^"]*"|[-+]?[\w.]+'
ODD = [
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"4294967296",
    b"9" * 400,
    b"null",
    b"true",
    b'""',
    b'"../x"',
    b"[]",
    b"{}",
    b"[[[[",
]
ODD += [
    b'"\\u0000"',
    b'"\\ud800"',
    "\u202e".encode(),
    b"\xff\xfe",
    b"\0",
    b"%s",
    b"'",
    b"&a;",
    b"<a>",
    b"*a",
    b"!!python/name:x",
]
NUMBERS = [
    bytes(4),
    b"\xff" * 4,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\0\0\1\0",
    b"\x01",
]
CHANGE = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.integers(1, 2000)),
    st.tuples(st.just("end"), st.floats(0, 1), st.none()),
    st.tuples(st.just("double"), st.floats(0, 1), st.integers(1, 2000)),
    st.tuples(st.just("overwrite"), st.floats(0, 1), st.one_of(st.sampled_from(NUMBERS), st.binary(max_size=16))),
    st.tuples(st.just("header"), st.floats(0, 1), st.one_of(st.sampled_from(NUMBERS), st.binary(max_size=4))),
    st.tuples(st.just("word"), st.floats(0, 1), st.sampled_from(ODD)),
)


def changed(content: bytes, kind: str, where: float, what: Any) -> bytes:
    """Apply one mutation to a file.

    Args:
        content: Content of the file.
        kind: flip, cut, end, double, overwrite, header or word.
        where: Relative position, from 0 (start) to 1 (end).
        what: The bit, the number of bytes, or the value to write.
    """
    place = int(where * max(0, len(content) - 1))
    if kind == "word":
        words = [found.span() for found in re.finditer(WORDS, content[:20_000])]
        first, last = words[int(where * (len(words) - 1))] if words else (0, 0)
        return content[:first] + what + content[last:]
    if kind == "header":  # where file formats keep sizes and counts
        place = int(where * min(200, len(content)))
    if kind == "flip":
        return content[:place] + bytes(byte ^ 1 << what for byte in content[place : place + 1]) + content[place + 1 :]
    if kind == "cut":
        return content[:place] + content[place + what :]
    if kind == "end":
        return content[:place]
    if kind == "double":
        return content[: place + what] + content[place:]
    return content[:place] + what + content[place + len(what) :]
