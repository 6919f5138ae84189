"""The middleware admits permitted requests and tells refused ones why."""

import pytest


def test_other_host_names_and_other_origins_are_refused(send, photo_file):
    assert send("GET", "/health").status == 200
    assert send("GET", "/health", host="evil.example").status == 403
    refused = send("POST", "/localize", photo_file.read_bytes(), origin="https://evil.example")
    assert refused.status == 403
    assert refused.content == {"error": "Requests from other pages are refused."}


@pytest.mark.parametrize("path", ["/health", "/docs", "/nothing"])
def test_responses_forbid_browsers_to_load_anything_else(send, path):
    headers = send("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_the_sender_of_a_large_body_receives_the_reason(send):
    """If the rest were not read, the connection would be reset while the client is still sending."""
    for path, status in (("/localize", 413), ("/nothing", 404), ("/health", 405)):
        assert send("POST", path, bytes(3_900_000), content_type="image/png").status == status


def test_a_client_that_expects_100_continue_is_refused_before_it_sends(send):
    reply = send("POST", "/localize", b"", content_type="image/png", content_length="5000000", expect="100-continue")
    assert reply.status == 413
