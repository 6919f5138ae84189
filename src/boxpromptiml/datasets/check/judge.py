"""Findings about a single image."""

from __future__ import annotations

from collections.abc import Iterator

from boxpromptiml.datasets.check.findings import Finding, Limits, about
from boxpromptiml.datasets.check.measure import Entry


def judge(entry: Entry, limits: Limits) -> Iterator[Finding]:
    """Yield findings about one image and its mask, independent of other images."""
    record, facts = entry.record, entry.facts
    if facts.problem:
        yield about(entry, facts.problem, facts.detail)
        return
    share = facts.mask_share
    if record.authentic:
        return
    if share is None:
        if record.split == "test":
            yield about(entry, "no_truth", "a manipulated image of the test split without a mask")
    elif share >= limits.full:
        yield about(entry, "full_mask", f"{record.mask_path} covers {share:.1%} of the image")
    else:
        if facts.outside_share > limits.outside:
            yield about(
                entry, "outside_boxes", f"{facts.outside_share:.0%} of its manipulated pixels lie outside every box"
            )
        if facts.empty_boxes:
            of_all = f"{facts.empty_boxes} of {len(record.boxes_xyxy)} boxes"
            yield about(entry, "empty_box", f"{of_all} contain no manipulated pixel")
