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
        batch: largest number of photos in a batch of the student; by default 1 on a CPU, where one thread per photo is
            faster than a batch shared by several threads, and 16 on a GPU.
        threads: number of batches processed concurrently; by default 1 on a GPU, and on a CPU torch's number of threads
            (set by OMP_NUM_THREADS), at most 8.
    """

    megabytes: Positive = 32
    megapixels: Positive = 50
    seconds: Positive = 30
    requests: Count = 32
    readers: Count = 2
    batch: Count | None = None
    threads: Count | None = None

    def __post_init__(self) -> None:
        check_fields(self, "limits.")
