"""What a request may take."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from boxpromptiml.records import InputError


@dataclass(frozen=True)
class Limits:
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

    megabytes: float = 32
    megapixels: float = 50
    seconds: float = 30
    requests: int = 32
    readers: int = 2
    batch: int = 16

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise InputError(f"limits.{name} is {value}; name a number above zero")
