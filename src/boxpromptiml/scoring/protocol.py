"""The rules by which predictions are scored, and what others published under theirs. docs/metrics.md compares them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from boxpromptiml.core.limits import Threshold, hold_fields

Mode = Literal["origin", "reverse", "double"]
"""What the pixel scores are of: the prediction, its inverse, or the better of the two (IMDLBenCo's names)."""
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Lightning's names: all numbers in 32 bits, or products and convolutions in 16."""


@dataclass(frozen=True)  # without slots, which jsonargparse cannot read defaults from
class Scoring:
    """How predictions are scored. The defaults are the rules of this project, the other values those of others.

    Args:
        threshold: pixels with a probability above it are predicted as manipulated.
        image_threshold: images whose largest probability is above it are predicted as manipulated.
        resolution: score at the size of the ground truth (truth) or at the student's (network, as IMDLBenCo does).
        mode: score the prediction (origin), its inverse (reverse), or the better of both for each image (double, as
            TruFor does). False alarms and scores of whole images are always of the prediction itself.
        stretch: stretch every prediction to the range from 0 to 1 before its pixels are scored, as SCAF does.
        precision: in which the student answers when it is scored, whatever it was trained in; scores of two precisions
            differ and are not compared.
    """

    threshold: Threshold = 0.5
    image_threshold: Threshold = 0.5
    resolution: Literal["truth", "network"] = "truth"
    mode: Mode = "origin"
    stretch: bool = False
    precision: Precision = "32-true"

    def __post_init__(self) -> None:
        hold_fields(self, "scoring.")

    def __str__(self) -> str:
        return (
            f"pixels above {self.threshold:g}, images above {self.image_threshold:g}, {self.resolution} resolution, "
            f"mode {self.mode}{', stretched' if self.stretch else ''}, precision {self.precision}"
        )


@dataclass(frozen=True, slots=True)
class Published:
    """Mean F1 that somebody published.

    Attributes:
        method: name of the detector.
        supervision: what it was trained from.
        f1: at 0.5, mean over images.
    """

    method: str
    supervision: str
    f1: float

    def __str__(self) -> str:
        return f"{self.method} ({self.supervision}) {self.f1:.3f}"


SOURCE = (
    "arXiv 2511.20359 (BoxPromptIML, AAAI 2026): F1 at 0.5 after 20 epochs, read in notes on the paper, not in its "
    "tables. It does not say at which resolution, nor which images of Columbia, Coverage and NIST16 were tested on. "
    "The same laboratory's code for SCAF stretches every prediction to [0, 1] before it is cut; ours does so only with "
    "scoring.stretch"
)
"""Where `PUBLISHED` comes from, and how its rules differ or may differ from the defaults of `Scoring`."""
IN_DISTRIBUTION = ("casia1", "columbia", "coverage", "nist16")
"""The sets whose unweighted mean the paper calls in-distribution."""
_WEAK = (("BoxPromptIML", "box"), ("SCAF", "scribble"), ("WSCL", "image label"))
_OSN = (("BoxPromptIML", "box"), ("Mesorch", "mask"), ("WSCL", "image label"))
_FULL = {"PIM": 0.648, "SparseViT": 0.562, "Mesorch": 0.544, "TruFor": 0.538, "PSCC-Net": 0.535}


def _rows(methods: tuple[tuple[str, str], ...], *scores: float) -> tuple[Published, ...]:
    return tuple(Published(*method, f1) for method, f1 in zip(methods, scores, strict=True))


PUBLISHED = {
    "casia1": _rows(_WEAK, 0.552, 0.530, 0.140),
    "columbia": _rows(_WEAK, 0.903, 0.442, 0.524),
    "coverage": _rows(_WEAK, 0.403, 0.400, 0.180),
    "nist16": _rows(_WEAK, 0.618, 0.226, 0.111),
    "casia1facebook": _rows(_OSN, 0.532, 0.671, 0.124),
    "casia1weibo": _rows(_OSN, 0.536, 0.655, 0.133),
    "casia1wechat": _rows(_OSN, 0.477, 0.583, 0.066),
    "casia1whatsapp": _rows(_OSN, 0.530, 0.677, 0.123),
    "in distribution": (
        *_rows(_WEAK, 0.619, 0.400, 0.239),
        *(Published(name, "mask", f1) for name, f1 in _FULL.items()),
    ),
}
"""Test set → what was published on it."""
IMAGES = {"casia1": 920, "columbia": 50, "coverage": 30, "nist16": 150}
"""Test set → manipulated images that SCAF's README counts in it; that the paper tests on the same is an inference."""


def published(name: str) -> tuple[Published, ...]:
    """What was published on a test set; nothing for most names. `casia_v1`, `CASIAv1` and `casia1` are one set."""
    return PUBLISHED.get(set_key(name), ())


def set_key(name: str) -> str:
    """Key of a test set in `PUBLISHED` and `IMAGES`, whichever way its name is spelt."""
    if name in PUBLISHED:
        return name
    key = re.sub("[^a-z0-9]", "", name.lower())
    key = re.sub("^casia(v1|1)?(?=$|facebook|weibo|wechat|whatsapp)", "casia1", key)
    return re.sub("^(nc16|nc2016|nist2016)$", "nist16", key)
