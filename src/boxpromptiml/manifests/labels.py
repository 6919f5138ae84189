"""Which of several labels means manipulated. Nobody but the user knows, so where it is open it is asked."""

from __future__ import annotations

from collections.abc import Mapping

OPPOSITE = frozenset({"authentic", "background", "genuine", "negative", "original", "pristine", "real", "untampered"})
"""Labels that say the contrary of manipulated."""
SHOWN = 6
"""Labels that a line names."""


def open_question(counts: Mapping[str, int]) -> str | None:
    """What has to be asked before boxes count as manipulated, or None.

    Boxes of one label mean what the data set is about, whatever the label is called. Boxes of several do not: a face,
    a logo or an authentic part may be among them. The rule is ours.

    Args:
        counts: label → number of its boxes.
    """
    if len(counts) > 1:
        return f"its boxes have {len(counts)} labels, {listed(counts)}, and not all of them may mean manipulated"
    (only,) = counts or [""]
    if only.strip().casefold() in OPPOSITE:
        return f"all its boxes are labelled {only!r}, which says the contrary of manipulated"
    return None


def listed(counts: Mapping[str, int]) -> str:
    """Labels with the numbers of their boxes, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names = [f"{name} ({count:,})" for name, count in ranked[:SHOWN]]
    return ", ".join([*names, "…"] if len(ranked) > SHOWN else names)
