"""Access checks and response headers shared by the web app and the HTTP service."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from boxpromptiml.core.records import InputError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    # Even if a future version of the server software included external resources, the browser would not load them.
    "content-security-policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def headers_framed_by(addresses: Sequence[str]) -> dict[str, str]:
    """Return `HEADERS`, modified to allow embedding in frames by pages of these sites.

    Args:
        addresses: scheme, host and optionally port, such as ``https://huggingface.co``.

    Raises:
        InputError: an address is invalid.
    """
    for address in addresses:
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?", address):
            raise InputError(
                f"framed_by: {address!r} is not the address of a site; write it like https://huggingface.co"
            )
    if not addresses:
        return HEADERS
    policy = HEADERS["content-security-policy"]
    framed = policy.replace("frame-ancestors 'none'", f"frame-ancestors {' '.join(addresses)}")
    return HEADERS | {"content-security-policy": framed}


def rejection(headers: Mapping[str, str], hosts: frozenset[str] | None) -> str | None:
    """Return why a request with these headers is rejected, or None.

    Args:
        headers: request headers, looked up in lower case.
        hosts: accepted host names, without port; None for any. Accepting only names of this machine prevents web pages
            from reaching the server through a domain that resolves to it (DNS rebinding).
    """
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdigit() else host
    if hosts is not None and name.strip("[]").lower() not in hosts:
        return "This server only answers at the address that the command printed."
    origin = headers.get("origin")
    elsewhere = origin is not None and origin.split("://")[-1].lower() != host.lower()
    by_a_page = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if elsewhere or (by_a_page and headers.get("sec-fetch-mode") != "navigate"):
        return "Requests from other pages are refused."
    return None


def too_long(headers: Mapping[str, str], limit: int) -> bool:
    """Return whether a request's declared length exceeds the limit in bytes."""
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > limit)  # int rejects long ones
