"""Identity of a student, and the limitations stated in its model card."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stage2_distill.inference import released

if TYPE_CHECKING:  # a slow import that is not needed without a student
    from stage2_distill.inference.localizer import Localizer

CARD = "README.md"
SECTION = re.compile(
    r"^(?:#+ |\*\*)(?:What it misses|Limits)(?:\*\*)?[ \t]*\n\s*(?P<body>.+?)(?=\n#|\n\n(?!- )|\Z)",
    re.MULTILINE | re.DOTALL,
)
NO_CARD = (
    "Its limits are unknown, because this student has no model card.",
    "A student finds the kinds of manipulation that its training set contained. Strong recompression, "
    "downscaling and screenshots remove the traces it relies on.",
)


@dataclass(frozen=True, slots=True)
class StudentFacts:
    """Identity and limitations of a student.

    Attributes:
        name: name by which the student was loaded.
        sha256: hash of its arguments and weights, see `Localizer.weights_sha256`.
        side: side of its input in pixels.
        threshold: its own.
        calibration: how the threshold was chosen.
        limits: its limitations, one text each.
    """

    name: str
    sha256: str
    side: int
    threshold: float
    calibration: str
    limits: tuple[str, ...]

    @classmethod
    def of(cls, localizer: Localizer, name: str) -> StudentFacts:
        """Collect the facts about a student; its model card is searched in the folder that it was loaded from."""
        card = (released.FOLDER if name == released.NAME else Path(name)) / CARD
        limits = limits_of(card.read_text(encoding="utf-8", errors="replace")) if name and card.is_file() else ()
        return cls(
            name or "without a name",
            localizer.weights_sha256(),
            localizer.student.image_size,
            localizer.threshold,
            localizer.calibration,
            limits or NO_CARD,
        )


def limits_of(card: str) -> tuple[str, ...]:
    """Extract the items of a model card's section *Limits* or *What it misses* as plain text, possibly none."""
    found = SECTION.search(card)
    points = re.split(r"^- ", found["body"], flags=re.MULTILINE) if found else []
    return tuple(" ".join(re.sub(r"\*\*|`", "", point).split()) for point in points if point.strip())
