"""Boxes that a student proposes to the annotator, and statistics about their acceptance.

Proposals are kept in memory. They are noted in a folder's files only when their photo is shown, and saved in its
manifest only when accepted: a proposal that nobody has seen never becomes an annotation.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from boxpromptiml.apps.web_app.annotation_files import AnnotationSessionError
from boxpromptiml.apps.web_app.annotation_session import AnnotationSession
from boxpromptiml.apps.web_app.annotation_time import Outcome, median
from boxpromptiml.core.boxes import Boxes, as_boxes, clip, merge_overlapping, scale, with_margin
from boxpromptiml.core.limits import Share
from boxpromptiml.images import ImageError, Photo, Probability, read_photo, resize_photo
from boxpromptiml.images.connected_regions import find_regions

if TYPE_CHECKING:  # a slow import that is not needed without a student
    from stage2_distill.inference.localizer import Localizer

MOST = 12
"""Maximum number of regions proposed per photo, the largest first."""
SMALLEST = 0.005
"""Smallest proposed region as a fraction of the photo; if none reaches it, all are proposed."""
MARGIN = 0.05
"""Expansion of proposed boxes beyond their region, as a fraction of its sides: boxes drawn by people are slightly
loose."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A student's proposal for an unannotated photo.

    Attributes:
        boxes_xyxy: (N, 4) boxes in integer pixels of the photo; none overlap.
        uncertainty: see `uncertainty`.
    """

    boxes_xyxy: Boxes
    uncertainty: float


class Proposals:
    """A student's boxes for the undecided photos of a folder.

    The student is run on all these photos at once, and the session is reordered by decreasing uncertainty.

    Args:
        localizer: the student; its threshold defines the regions.
        session: annotation session of the folder; its order changes.
        share: fraction of the photos, by name, for which proposals are shown. The others are annotated without, so that
            the annotation times can be compared.
    """

    def __init__(self, localizer: Localizer, session: AnnotationSession, share: Share = 1.0) -> None:
        self._share = share
        self._by_name: dict[str, Proposal] = {}
        waiting = [place for place in range(len(session)) if session.label(place) is None]
        for place in tqdm(waiting, desc="the student's boxes", unit="photo"):
            try:
                photo = read_photo(session.path(place))
            except (ImageError, AnnotationSessionError):
                continue  # reported when the photo is to be shown
            self._by_name[session.names[place]] = propose(localizer, photo)
        unread = [session.names[place] for place in waiting if session.names[place] not in self._by_name]
        least_sure = sorted(self._by_name, key=lambda name: -self._by_name[name].uncertainty)
        session.arrange([*least_sure, *unread])

    def boxes(self, name: str) -> Boxes | None:
        """Return (N, 4) boxes (XYXY) to show with a photo; None if no proposal is to be shown."""
        proposal = self._by_name.get(name)
        drawn = np.random.default_rng(zlib.crc32(name.encode())).random() < self._share
        return proposal.boxes_xyxy if proposal is not None and drawn else None


def propose(localizer: Localizer, photo: Photo) -> Proposal:
    """Convert a student's regions in a photo (H, W, 3) to boxes, and compute its uncertainty."""
    side, (height, width) = localizer.student.image_size, photo.shape[:2]
    (probability,) = localizer.localize([resize_photo(photo, side, side)])
    regions = find_regions(probability, localizer.threshold, SMALLEST)[:MOST]
    tight = scale(as_boxes([region.box_xyxy for region in regions]), width / side, height / side)
    loose = with_margin(tight, MARGIN, width, height)
    whole = np.concatenate([np.floor(loose[:, :2]), np.ceil(loose[:, 2:])], axis=1)
    return Proposal(merge_overlapping(clip(as_boxes(whole), width, height)), uncertainty(probability))


def uncertainty(probability: Probability) -> float:
    """Mean entropy of the pixel probabilities in bits: 0 if all are 0 or 1, 1 if all are 0.5."""
    p = np.clip(probability.astype(np.float64), 1e-9, 1 - 1e-9)
    return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean())


def snapped(boxes_xyxy: Boxes, offered: Boxes | None, tolerance: float) -> Boxes:
    """Replace boxes from the canvas by the offered box that they match, to undo the canvas's rounding.

    Args:
        boxes_xyxy: (N, 4) boxes.
        offered: (M, 4) boxes, or None.
        tolerance: largest difference of each side in pixels.
    """
    result = boxes_xyxy.copy()
    for box in as_boxes([]) if offered is None else offered:
        result[np.abs(boxes_xyxy - box).max(axis=1) <= tolerance] = box
    return result


@dataclass(frozen=True, slots=True)
class Tally:
    """Statistics about proposals.

    Attributes:
        seconds_with: median time of photos shown with a student's prediction, None without any.
        photos_with: number of these photos.
        seconds_without: median time of the others.
        photos_without: number of the others.
        offered: number of boxes proposed for decided photos.
        kept: number of these that were accepted unchanged.
    """

    seconds_with: float | None
    photos_with: int
    seconds_without: float | None
    photos_without: int
    offered: int
    kept: int


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Compute annotation times with and without proposals, and the number of unchanged proposals."""
    asked: list[float] = []
    alone: list[float] = []
    offered = kept = 0
    for outcome in outcomes:
        (alone if outcome.offered is None else asked).append(outcome.seconds)
        if outcome.offered is not None:
            offered += len(outcome.offered.boxes_xyxy)
            kept += len(set(outcome.offered.boxes_xyxy) & set(outcome.decided.boxes_xyxy))
    return Tally(median(asked), len(asked), median(alone), len(alone), offered, kept)


def summary(outcomes: Iterable[Outcome]) -> str:
    """Format `tally` in one line; empty if nothing was proposed."""
    found = tally(outcomes)
    if found.seconds_with is None:
        return ""
    with_them = f"with proposals {found.seconds_with:.1f} s ({_photos(found.photos_with)})"
    without = "none annotated without"
    if found.seconds_without is not None:
        without = f"without {found.seconds_without:.1f} s ({_photos(found.photos_without)})"
    boxes = "1 proposed box was" if found.offered == 1 else f"{found.offered} proposed boxes were"
    return f"Median time per image: {with_them}, {without}. {found.kept} of {boxes} accepted unchanged."


def _photos(count: int) -> str:
    return f"{count} photo{'s' * (count != 1)}"
