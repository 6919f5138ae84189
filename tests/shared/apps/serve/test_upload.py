"""Accepted uploads, none of which is ever written to disk."""

import socket
import tempfile

import pytest


def chunked(send, pieces, headers=b"Content-Type: image/png\r\n"):
    """Response to a chunked body, which has no Content-Length."""
    with socket.create_connection(("127.0.0.1", send.port), timeout=20) as sending:
        sending.sendall(
            b"POST /localize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n" + headers + b"\r\n"
        )
        for piece in pieces:
            sending.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        sending.sendall(b"0\r\n\r\n")
        return sending.recv(1 << 16)


def test_photos_above_the_size_limit_are_refused_however_they_are_sent(send):
    large = bytes(1_500_000)
    replies = [
        send.photo(large),
        send("POST", "/localize", large, content_type="image/png"),
        send("POST", "/localize", large, content_type="image/png", content_length="99999999999999999999"),
    ]
    assert {reply.status for reply in replies[:2]} == {413}
    assert replies[2].status in (400, 413)  # h11 itself refuses the length
    assert "larger than the limit of 1 MB" in replies[0].content["error"]
    assert chunked(send, [large]).startswith(b"HTTP/1.1 413")


def test_a_chunked_photo_is_put_together(send, photo_file):
    content = photo_file.read_bytes()
    assert chunked(send, [content[:9], content[9:]]).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"content_type": "text/html"}, "the content type is text/html"),
        ({"content_type": "application/x-www-form-urlencoded"}, "the content type is application/x-www"),
        ({"content_type": "image/png", "content_encoding": "gzip"}, "the body is compressed"),
    ],
)
def test_a_body_of_another_content_type_is_not_read(send, photo_file, headers, words):
    reply = send("POST", "/localize", photo_file.read_bytes(), **headers)
    assert reply.status == 415
    assert reply.content["error"].startswith(words)


PART = b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\nGIF\r\n'
FILE = b'; filename="a.jpg"'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the form has no file called photo"),
        (b"--x--\r\n", "the form "),  # an empty form or no form: parsers differ
        (PART % (b"image", FILE) + b"--x--\r\n", "the form has no file called photo"),
        (PART % (b"photo", b"") + b"--x--\r\n", "the form cannot be read: Too many fields"),
        (PART % (b"photo", FILE) + PART % (b"photo", FILE) + b"--x--\r\n", "the form cannot be read: Too many files"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\nGIF\r\n--x--\r\n", "the form cannot be read: "),
        (b"no form at all", "the form cannot be read: "),
        (b"--x\r\n" + b"A" * 300_000 + b"\r\n\r\n\r\n--x--\r\n", "the form cannot be read: "),
    ],
)
def test_malformed_forms_are_refused_in_one_line(send, body, words):
    reply = send("POST", "/localize", body, content_type="multipart/form-data; boundary=x")
    assert (reply.status, reply.content["error"].startswith(words)) == (422, True), reply.content
    assert "\n" not in reply.content["error"]


def test_a_form_without_a_boundary_is_refused(send):
    assert send("POST", "/localize", b"--x", content_type="multipart/form-data").status == 422


def test_uploads_are_kept_in_memory(send, photo_file, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "_mkstemp_inner", refuse)
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    padded = photo_file.read_bytes().ljust(999_000, b"\0")
    assert send.photo(padded).status == 200
    assert send.photo(bytes(999_999)).status == 415


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a\tb.jpg", "\u202egpj.exe", "x" * 2000, b"caf\xe9.jpg", "CON", "", "%00"],
)
def test_file_names_are_shown_in_one_line(send, name):
    reply = send.photo(b"GIF89a", name)
    shown = reply.content["error"]
    assert (reply.status, reply.content["error"].partition(": ")[2]) == (
        415,
        "not a readable image; send a photo",
    )
    assert shown.isprintable()
    assert len(shown) < 200
