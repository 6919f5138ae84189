"""Scoring options, and the published scores to compare with. docs/metrics.md explains the differences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from boxpromptiml.core.limits import Threshold, check_fields

Mode = Literal["origin", "reverse", "double"]
"""What pixel scores are computed from: the prediction, its inverse, or the better of the two (IMDLBenCo's names)."""
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Lightning's names: 32-bit throughout, or 16-bit matrix products and convolutions."""


@dataclass(frozen=True)  # no slots, because jsonargparse could not read the defaults
class Scoring:
    """How predictions are scored. The defaults are this project's protocol; the other values reproduce other projects'.

    Args:
        threshold: pixels with a probability above it are predicted as manipulated.
        image_threshold: images whose score is above it are predicted as manipulated.
        resolution: score at the resolution of the ground truth (truth) or of the student's input (network, as in
            IMDLBenCo).
        mode: score the prediction (origin), its inverse (reverse), or the better of the two per image (double, as in
            TruFor). False alarms and image-level scores always use the prediction itself.
        stretch: stretch each prediction to the range from 0 to 1 before scoring its pixels, as in SCAF.
        precision: precision of the student during scoring, independent of training; scores of different precisions
            differ and are not compared.
    """

    threshold: Threshold = 0.5
    image_threshold: Threshold = 0.5
    resolution: Literal["truth", "network"] = "truth"
    mode: Mode = "origin"
    stretch: bool = False
    precision: Precision = "32-true"

    def __post_init__(self) -> None:
        check_fields(self, "scoring.")

    def __str__(self) -> str:
        return (
            f"pixels above {self.threshold:g}, images above {self.image_threshold:g}, {self.resolution} resolution, "
            f"mode {self.mode}{', stretched' if self.stretch else ''}, precision {self.precision}"
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A published mean F1.

    Attributes:
        method: name of the detector.
        supervision: type of annotation it was trained with.
        f1: F1 at threshold 0.5, mean over images.
    """

    method: str
    supervision: str
    f1: float

    def __str__(self) -> str:
        return f"{self.method} ({self.supervision}) {self.f1:.3f}"


SOURCE = (
    "arXiv 2511.20359 (BoxPromptIML, AAAI 2026): F1 at 0.5 after 20 epochs, taken from notes on the paper, not "
    "from its tables. The paper does not state the resolution, or which images of Columbia, Coverage and NIST16 "
    "were tested. The same lab's SCAF code stretches every prediction to [0, 1] before thresholding; this "
    "project does so only with scoring.stretch"
)
"""Origin of `PUBLISHED`, and how that protocol differs or may differ from the defaults of `Scoring`."""
IN_DISTRIBUTION = ("casia1", "columbia", "coverage", "nist16")
"""Test sets whose unweighted mean the paper reports as in-distribution."""
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
"""Test set → published scores."""
IMAGES = {"casia1": 920, "columbia": 50, "coverage": 30, "nist16": 150}
"""Test set → number of manipulated images according to SCAF's README. We infer that the paper uses the same images."""


def published(name: str) -> tuple[Published, ...]:
    """Return the published scores of a test set, usually none. `casia_v1`, `CASIAv1` and `casia1` are the same set."""
    return PUBLISHED.get(set_key(name), ())


def set_key(name: str) -> str:
    """Normalize the name of a test set to a key of `PUBLISHED` and `IMAGES`."""
    if name in PUBLISHED:
        return name
    key = re.sub("[^a-z0-9]", "", name.lower())
    key = re.sub("^casia(v1|1)?(?=$|facebook|weibo|wechat|whatsapp)", "casia1", key)
    return re.sub("^(nc16|nc2016|nist2016)$", "nist16", key)
