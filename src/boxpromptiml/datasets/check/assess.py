"""Combination of all measurements into a report with a verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from boxpromptiml import __version__
from boxpromptiml.datasets.check.balance import Balance, balance
from boxpromptiml.datasets.check.duplicates import repeats, same_photos, twins
from boxpromptiml.datasets.check.findings import CODES, SCHEMA, Finding, Limits, Report, Severity, Verdict, found
from boxpromptiml.datasets.check.judge import judge
from boxpromptiml.datasets.check.measure import Entry
from boxpromptiml.manifests.manifest import Manifest


def assess(manifests: Sequence[Manifest], entries: Sequence[Entry], limits: Limits) -> Report:
    """Assess manifests and their measured images.

    Duplicates are only searched among images without other problems.
    """
    findings = [
        found("unusable_entry", image.reason, str(manifest.path), "", image.image_id, image.file)
        for manifest in manifests
        for image in manifest.set_aside
    ]
    findings += [finding for entry in entries for finding in judge(entry, limits)]
    aside = _set_aside(findings)
    groups = same_photos((entry for entry in entries if not _is_in(entry, aside)), limits)
    findings += [finding for group in groups for finding in repeats(group)]

    aside = _set_aside(findings)
    sound = [entry for entry in entries if not _is_in(entry, aside)]
    beside = twins([entry for entry in group if not _is_in(entry, aside)] for group in groups)
    splits: dict[str, Balance] = {
        split: balance([entry for entry in sound if entry.record.split == split], beside[split])
        for split in dict.fromkeys(entry.record.split for entry in entries)
    }
    for split, images in splits.items():
        if not (images.manipulated if split == "train" else images.images):
            what = "manipulated image" if split == "train" else "image"
            findings.append(found("nothing_usable", f"{split} has no {what} that can be used", split=split))
    if not splits:
        findings.append(found("nothing_usable", "no image can be used"))
    counts = Counter(finding.code for finding in findings)
    return Report(
        schema=SCHEMA,
        version=__version__,
        verdict=_verdict({finding.severity for finding in findings}),
        manifests=[str(manifest.path) for manifest in manifests],
        limits=limits,
        images=len(entries) + sum(len(manifest.set_aside) for manifest in manifests),
        counts={code: counts[code] for code in CODES if counts[code]},
        set_aside={manifest: sorted(ids) for manifest, ids in aside.items()},
        splits=splits,
        findings=sorted(findings, key=lambda finding: list(CODES).index(finding.code)),
    )


def _verdict(severities: set[Severity]) -> Verdict:
    if "error" in severities:
        return "not fit"
    return "fit without some images" if "warning" in severities else "fit"


def _set_aside(findings: Iterable[Finding]) -> dict[str, set[int]]:
    """Return the ids of images with an error or a warning, by manifest."""
    ids: dict[str, set[int]] = defaultdict(set)
    for finding in findings:
        if finding.severity != "note" and finding.image_id is not None:
            ids[finding.manifest].add(finding.image_id)
    return ids


def _is_in(entry: Entry, aside: dict[str, set[int]]) -> bool:
    return entry.record.image_id in aside.get(str(entry.manifest), ())
