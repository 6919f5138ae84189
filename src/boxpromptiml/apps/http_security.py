"""What the page and the service have in common: who may ask, and what is said with every answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from boxpromptiml.core.records import InputError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    # The browser itself refuses whatever would leave this server, were it in a later version of what serves.
    "content-security-policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def headers_framed_by(addresses: Sequence[str]) -> dict[str, str]:
    """`HEADERS`, but pages of these addresses may show this server's in a frame.

    Args:
        addresses: such as ``https://huggingface.co``: scheme, host and perhaps a port.

    Raises:
        InputError: one is no such address.
    """
    for address in addresses:
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?", address):
            raise InputError(f"framed_by: {address!r} is no address of a site; write one like https://huggingface.co")
    if not addresses:
        return HEADERS
    policy = HEADERS["content-security-policy"]
    framed = policy.replace("frame-ancestors 'none'", f"frame-ancestors {' '.join(addresses)}")
    return HEADERS | {"content-security-policy": framed}


def wrong_asker(headers: Mapping[str, str], hosts: frozenset[str] | None) -> str | None:
    """Why whoever sent these headers gets no answer, or None.

    Args:
        headers: of a request, whose names are looked up in small letters.
        hosts: names under which the server may be asked for, without port; None for any. With names of this machine
            alone, no page on the web can reach the server by a name of its own that points here.
    """
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if host.rsplit(":", 1)[-1].isdigit() else host
    if hosts is not None and name.strip("[]").lower() not in hosts:
        return "This server answers to the address that the command printed, and to no other name."
    origin = headers.get("origin")
    elsewhere = origin is not None and origin.split("://")[-1].lower() != host.lower()
    by_a_page = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if elsewhere or (by_a_page and headers.get("sec-fetch-mode") != "navigate"):
        return "Other pages may not use this one."
    return None


def too_long(headers: Mapping[str, str], limit: int) -> bool:
    """Whether a request says of itself that it has more bytes than the limit."""
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > limit)  # int refuses long ones
