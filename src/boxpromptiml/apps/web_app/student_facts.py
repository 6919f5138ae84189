"""Which student it is, and what its model card says that it cannot see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stage2_distill.inference import released

if TYPE_CHECKING:  # takes seconds to import, and a page without a student does without
    from stage2_distill.inference.localizer import Localizer

CARD = "README.md"
SECTION = re.compile(
    r"^(?:#+ |\*\*)(?:What it misses|Limits)(?:\*\*)?[ \t]*\n\s*(?P<body>.+?)(?=\n#|\n\n(?!- )|\Z)",
    re.MULTILINE | re.DOTALL,
)
NO_CARD = (
    "Its limits are not known: no model card came with this student.",
    "A student finds what its training set held. Strong recompression, downscaling and screenshots remove the traces "
    "it relies on.",
)


@dataclass(frozen=True, slots=True)
class StudentFacts:
    """What identifies a student, and what it misses.

    Attributes:
        name: under which it was asked for.
        sha256: of its arguments and weights, as `Localizer.weights_sha256` has it.
        side: of its input in pixels.
        threshold: its own.
        calibration: how the threshold was chosen.
        limits: what it cannot see, one text for each.
    """

    name: str
    sha256: str
    side: int
    threshold: float
    calibration: str
    limits: tuple[str, ...]

    @classmethod
    def of(cls, localizer: Localizer, name: str) -> StudentFacts:
        """The facts of a student; its model card is looked for in the folder that the name stands for."""
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
    """The points of a model card's section *Limits* or *What it misses*, as plain text; empty where it has none."""
    found = SECTION.search(card)
    points = re.split(r"^- ", found["body"], flags=re.MULTILINE) if found else []
    return tuple(" ".join(re.sub(r"\*\*|`", "", point).split()) for point in points if point.strip())
