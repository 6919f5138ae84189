"""Limits of requests to the service."""

from __future__ import annotations

from dataclasses import dataclass

from boxpromptiml.core.limits import Count, Positive, check_fields


@dataclass(frozen=True)
class RequestLimits:
    """Limits of requests to the service.

    All requests together use at most about requests × megabytes of memory, plus readers × megapixels × 25 bytes.

    Attributes:
        megabytes: largest size of a photo's file.
        megapixels: largest number of pixels of a photo.
        seconds: time limit for receiving a photo, and again for the response.
        requests: number of concurrent requests; further clients are asked to retry.
        readers: number of photos decoded or encoded concurrently.
        batch: largest number of photos processed together by the student.
    """

    megabytes: Positive = 32
    megapixels: Positive = 50
    seconds: Positive = 30
    requests: Count = 32
    readers: Count = 2
    batch: Count = 16

    def __post_init__(self) -> None:
        check_fields(self, "limits.")
