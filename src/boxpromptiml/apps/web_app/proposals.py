"""Boxes that a student proposes to the annotator, and what the annotator made of them.

Proposals are kept in memory. A folder's files hear of one when its photo is shown, and its manifest only when somebody
accepts it: a proposal that nobody looked at never becomes a box.
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
from boxpromptiml.images.regions import find_regions

if TYPE_CHECKING:  # takes seconds to import, and a page without a student does without
    from stage2_distill.inference.localizer import Localizer

MOST = 12
"""Regions of a photo that are proposed, the largest first."""
SMALLEST = 0.005
"""Share of the photo that a proposed region covers at least; where none does, all are proposed."""
MARGIN = 0.05
"""By which share of its sides a proposed box reaches beyond its region: boxes that people draw are a little loose."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """What a student says about a photo that nobody has annotated.

    Attributes:
        boxes_xyxy: (N, 4) corner boxes in whole pixels of the photo; none overlap.
        uncertainty: see `uncertainty`.
    """

    boxes_xyxy: Boxes
    uncertainty: float


class Proposals:
    """A student's boxes for the photos of a folder that are not decided yet.

    Every such photo is shown to the student at once, and those that it is least sure of become the session's first.

    Args:
        localizer: the student; its threshold decides where regions are.
        session: the folder, whose order changes.
        share: of the photos, by name, whose boxes are shown to the annotator. The others are annotated without, so
            that the seconds of both can be compared.
    """

    def __init__(self, localizer: Localizer, session: AnnotationSession, share: Share = 1.0) -> None:
        self._share = share
        self._by_name: dict[str, Proposal] = {}
        waiting = [place for place in range(len(session)) if session.label(place) is None]
        for place in tqdm(waiting, desc="the student's boxes", unit="photo"):
            try:
                photo = read_photo(session.path(place))
            except (ImageError, AnnotationSessionError):
                continue  # which is said when its turn comes
            self._by_name[session.names[place]] = propose(localizer, photo)
        unread = [session.names[place] for place in waiting if session.names[place] not in self._by_name]
        least_sure = sorted(self._by_name, key=lambda name: -self._by_name[name].uncertainty)
        session.arrange([*least_sure, *unread])

    def boxes(self, name: str) -> Boxes | None:
        """(N, 4) corner boxes to show with a photo; None where the annotator is to see none."""
        proposal = self._by_name.get(name)
        drawn = np.random.default_rng(zlib.crc32(name.encode())).random() < self._share
        return proposal.boxes_xyxy if proposal is not None and drawn else None


def propose(localizer: Localizer, photo: Photo) -> Proposal:
    """A student's regions in a photo (H, W, 3) as boxes, and how unsure it is of the photo."""
    side, (height, width) = localizer.student.image_size, photo.shape[:2]
    (probability,) = localizer.localize([resize_photo(photo, side, side)])
    regions = find_regions(probability, localizer.threshold, SMALLEST)[:MOST]
    tight = scale(as_boxes([region.box_xyxy for region in regions]), width / side, height / side)
    loose = with_margin(tight, MARGIN, width, height)
    whole = np.concatenate([np.floor(loose[:, :2]), np.ceil(loose[:, 2:])], axis=1)
    return Proposal(merge_overlapping(clip(as_boxes(whole), width, height)), uncertainty(probability))


def uncertainty(probability: Probability) -> float:
    """Mean entropy of the pixels' probabilities in bits: 0 where each is 0 or 1, 1 where each is one half."""
    p = np.clip(probability.astype(np.float64), 1e-9, 1 - 1e-9)
    return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean())


def snapped(boxes_xyxy: Boxes, offered: Boxes | None, tolerance: float) -> Boxes:
    """Boxes from the canvas, those that lie on an offered one replaced by it: the canvas rounds.

    Args:
        boxes_xyxy: (N, 4) corner boxes.
        offered: (M, 4) corner boxes, or None.
        tolerance: pixels by which each side may be beside that of the offered box.
    """
    result = boxes_xyxy.copy()
    for box in as_boxes([]) if offered is None else offered:
        result[np.abs(boxes_xyxy - box).max(axis=1) <= tolerance] = box
    return result


@dataclass(frozen=True, slots=True)
class Tally:
    """What proposals were good for.

    Attributes:
        seconds_with: median of the photos that were shown with a student's answer, None without one.
        photos_with: how many.
        seconds_without: median of the others.
        photos_without: how many.
        offered: boxes that were proposed for decided photos.
        kept: of those, the ones that were accepted as they stood.
    """

    seconds_with: float | None
    photos_with: int
    seconds_without: float | None
    photos_without: int
    offered: int
    kept: int


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Seconds with and without proposals, and how many of these were right."""
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
    """`tally` in a line; empty where nothing was proposed."""
    found = tally(outcomes)
    if found.seconds_with is None:
        return ""
    with_them = f"with proposals {found.seconds_with:.1f} s ({_photos(found.photos_with)})"
    without = "without none was annotated"
    if found.seconds_without is not None:
        without = f"without {found.seconds_without:.1f} s ({_photos(found.photos_without)})"
    boxes = "1 proposed box was" if found.offered == 1 else f"{found.offered} proposed boxes were"
    return f"An image took, median: {with_them}, {without}. {found.kept} of {boxes} accepted as they stood."


def _photos(count: int) -> str:
    return f"{count} photo{'s' * (count != 1)}"
