"""Decide whether a file's labels mean "manipulated"; if that is ambiguous, the user has to say so."""

from __future__ import annotations

from collections.abc import Mapping

OPPOSITE = frozenset({"authentic", "background", "genuine", "negative", "original", "pristine", "real", "untampered"})
"""Labels that mean the opposite of manipulated."""
SHOWN = 6
"""Maximum number of labels in a message."""


def label_ambiguity(counts: Mapping[str, int]) -> str | None:
    """Return why it is unclear whether the boxes mean "manipulated", or None.

    Boxes with a single label are taken as manipulated, whatever the label's name. Several labels are ambiguous: some
    boxes may mark faces, logos or authentic parts. The rule is ours.

    Args:
        counts: label → number of its boxes.
    """
    if len(counts) > 1:
        return f"its boxes have {len(counts)} labels, {listed(counts)}, and some of them may not mean manipulated"
    (only,) = counts or [""]
    if only.strip().casefold() in OPPOSITE:
        return f"all its boxes are labelled {only!r}, which means the opposite of manipulated"
    return None


def listed(counts: Mapping[str, int]) -> str:
    """Format labels with their numbers of boxes, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names = [f"{name} ({count:,})" for name, count in ranked[:SHOWN]]
    return ", ".join([*names, "…"] if len(ranked) > SHOWN else names)
