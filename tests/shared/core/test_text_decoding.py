import json
import math

import pytest

from boxpromptiml.core.text_decoding import ShapeError, decode_json, decode_text

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_of_any_encoding_decodes_to_the_same(encoding):
    assert decode_json(json.dumps({"ü": [1, None]}, ensure_ascii=False).encode(encoding), dict) == {"ü": [1, None]}


def test_nan_and_infinity_are_read():
    assert math.isnan(decode_json(b'{"x": NaN}', dict[str, float])["x"])
    assert decode_json(b'{"x": -Infinity}', dict[str, float])["x"] == -math.inf


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": "\\ud800"}', b'{"a": 1} {"a": 2}', b"[" * 99_999])
def test_invalid_json_is_refused(content):
    with pytest.raises((ValueError, RecursionError)):
        decode_json(content, dict[str, str])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_value_of_the_wrong_type_is_named_by_its_path(encoding):
    with pytest.raises(ShapeError, match=r"`\$\[\.\.\.\]`"):
        decode_json('{"a": "wide"}'.encode(encoding), dict[str, int])


def test_text_with_a_byte_order_mark_is_read_and_invalid_bytes_are_refused_or_kept():
    assert decode_text("ü".encode("utf-16")) == decode_text(b"\xef\xbb\xbf\xc3\xbc") == "ü"
    with pytest.raises(UnicodeDecodeError):
        decode_text(b"a\xff")
    assert decode_text(b"a\xff", "surrogateescape") == "a\udcff"
    assert decode_text(b"\xff\xfea\0b", "surrogateescape")[0] == "a"
