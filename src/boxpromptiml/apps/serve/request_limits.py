"""What a request may take."""

from __future__ import annotations

from dataclasses import dataclass

from boxpromptiml.core.limits import Count, Positive, hold_fields


@dataclass(frozen=True)
class RequestLimits:
    """What a request may take of the service.

    Of memory, all of them together take at most about requests × megabytes, and readers × megapixels × 25 bytes.

    Attributes:
        megabytes: of the largest photo's file.
        megapixels: of the largest photo.
        seconds: for sending a photo, and again for the answer.
        requests: at once; more are asked to come again.
        readers: photos that are decoded, or turned into an answer, at once.
        batch: photos that the student looks at together.
    """

    megabytes: Positive = 32
    megapixels: Positive = 50
    seconds: Positive = 30
    requests: Count = 32
    readers: Count = 2
    batch: Count = 16

    def __post_init__(self) -> None:
        hold_fields(self, "limits.")
