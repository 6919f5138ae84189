"""The gate lets in who may ask, and those who are refused hear why."""

import pytest


def test_other_names_and_other_pages_are_refused(send, photo_file):
    assert send("GET", "/health").status == 200
    assert send("GET", "/health", host="evil.example").status == 403
    refused = send("POST", "/localize", photo_file.read_bytes(), origin="https://evil.example")
    assert refused.status == 403
    assert refused.content == {"error": "Other pages may not use this one."}


@pytest.mark.parametrize("path", ["/health", "/docs", "/nothing"])
def test_browsers_are_told_to_load_nothing_else(send, path):
    headers = send("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_who_sends_much_hears_why_it_is_refused(send):
    """Without reading on, the connection would be reset while the sender is at it."""
    for path, status in (("/localize", 413), ("/nothing", 404), ("/health", 405)):
        assert send("POST", path, bytes(3_900_000), content_type="image/png").status == status


def test_a_sender_that_asks_beforehand_sends_nothing(send):
    reply = send("POST", "/localize", b"", content_type="image/png", content_length="5000000", expect="100-continue")
    assert reply.status == 413
