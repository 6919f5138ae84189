"""Proposed boxes are only suggestions: boxes that the annotator has not seen are never written."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from boxpromptiml.apps.web_app.annotation_files import MANIFEST, NOTES, AnnotationSessionError, Label
from boxpromptiml.apps.web_app.annotation_session import AnnotationSession
from boxpromptiml.apps.web_app.annotation_time import LOOK_SECONDS, Outcome
from boxpromptiml.apps.web_app.proposals import Proposals, propose, snapped, summary, tally, uncertainty
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.images import write_photo
from boxpromptiml.manifests.manifest import read_manifest

SIDE = 100


class BrightIsForged:
    """A stub student whose probability is the brightness of the photo, so that tests can paint it."""

    threshold = 0.3
    student = SimpleNamespace(image_size=SIDE)

    def localize(self, photos):
        return [photo[..., 0].astype(np.float32) / 255 for photo in photos]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def painted(level, box=(20, 30, 60, 70), height=100, width=200):
    photo = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    photo[y1:y2, x1:x2] = level
    return photo


@pytest.fixture
def folder(tmp_path):
    """Photos on which the student is certain, uncertain and certain, one where it finds nothing, and a broken one."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, level in (("a", 250), ("b", 140), ("c", 255), ("d", 0)):
        write_photo(photos / f"{name}.png", painted(level))
    (photos / "e.png").write_bytes(b"not a photo")
    return photos


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def session(folder, clock):
    return AnnotationSession(folder, clock=clock)


def labels(folder):
    if not (folder / MANIFEST).exists():
        return {}
    return {record.path.name: record for record in read_manifest(folder / MANIFEST).records}


def shown(session, proposals, name):
    place = session.names.index(name)
    session.show(place, proposals.boxes(name))
    return place


def test_uncertainty_is_the_mean_entropy_in_bits():
    assert uncertainty(np.full((4, 4), 0.5, np.float32)) == pytest.approx(1)
    assert uncertainty(np.array([[0, 1], [0.5, 0.5]], np.float32)) == pytest.approx(0.5, abs=1e-6)
    assert uncertainty(np.array([[0.11]], np.float32)) == pytest.approx(0.5, abs=0.01)


def test_boxes_are_loose_in_whole_pixels_and_do_not_overlap():
    (box,) = propose(BrightIsForged(), painted(255)).boxes_xyxy
    assert box.tolist() == [18, 28, 62, 72]
    apart = propose(BrightIsForged(), np.maximum(painted(255), painted(255, (61, 30, 90, 70)))).boxes_xyxy
    assert len(apart) == 1  # they touch once the margins are added
    assert len(propose(BrightIsForged(), painted(0)).boxes_xyxy) == 0


def test_the_most_uncertain_photos_come_first(session):
    Proposals(BrightIsForged(), session)
    assert session.names[0] == "b.png"
    assert session.names[-1] == "e.png"  # cannot be read
    assert session.current == 0


def test_decided_photos_get_no_proposals(session, folder):
    session.authentic(session.names.index("b.png"))
    proposals = Proposals(BrightIsForged(), session)
    assert proposals.boxes("b.png") is None
    assert session.names[0] != "b.png"


def test_proposals_never_shown_are_not_written(session, folder):
    proposals = Proposals(BrightIsForged(), session)
    assert [path.name for path in folder.iterdir() if path.suffix == ".json"] == []
    place = shown(session, proposals, "b.png")
    assert session.is_proposal(place)
    assert len(session.boxes(place)) == 1
    assert labels(folder) == {}
    assert set(json.loads((folder / NOTES).read_text())["offered"]) == {"b.png"}
    again = AnnotationSession(folder)
    assert len(again.boxes(again.names.index("a.png"))) == 0
    assert again.is_proposal(again.names.index("b.png"))


def test_proposals_can_be_accepted_only_after_they_were_shown(session, folder, clock):
    proposals = Proposals(BrightIsForged(), session)
    place = shown(session, proposals, "a.png")
    clock.now += LOOK_SECONDS / 2
    with pytest.raises(AnnotationSessionError, match="proposed a moment ago"):
        session.accept(place, session.boxes(place))
    assert labels(folder) == {}
    clock.now += LOOK_SECONDS
    session.accept(place, session.boxes(place))
    assert labels(folder)["a.png"].boxes_xyxy.tolist() == [[18, 28, 62, 72]]


def test_redrawing_removes_a_proposal_until_the_decision_is_undone(session, clock):
    proposals = Proposals(BrightIsForged(), session)
    place = shown(session, proposals, "a.png")
    session.draft(place, as_boxes([]))
    assert len(session.boxes(shown(session, proposals, "a.png"))) == 0
    assert not session.is_proposal(place)
    clock.now += 3
    session.authentic(place)
    session.undo()
    assert session.boxes(place).tolist() == [[18, 28, 62, 72]]  # as before the decision


def test_statistics_compare_photos_with_and_without_proposals(session, folder, clock):
    proposals = Proposals(BrightIsForged(), session)
    for name, seconds, corrected in (("a.png", 2, 0), ("b.png", 4, 9)):
        place = shown(session, proposals, name)
        clock.now += seconds
        session.accept(place, session.boxes(place) + corrected)
    place = shown(session, proposals, "d.png")
    assert session.is_proposal(place)
    clock.now += 3
    session.authentic(place)
    session.show(session.names.index("c.png"))
    clock.now += 9
    session.accept(session.names.index("c.png"), as_boxes([(1, 1, 30, 30)]))
    found = tally(AnnotationSession(folder).outcomes())  # as after a restart
    assert (found.seconds_with, found.photos_with) == (3, 3)
    assert (found.seconds_without, found.photos_without) == (9, 1)
    assert (found.offered, found.kept) == (2, 1)
    line = summary(session.outcomes())
    assert "with proposals 3.0 s (3 photos), without 9.0 s (1 photo)" in line
    assert "1 of 2 proposed boxes were accepted unchanged" in line


def test_without_proposals_no_statistics_mention_them():
    assert summary([Outcome(3.0, None, Label())]) == ""
    assert "none annotated without" in summary([Outcome(3.0, Label(), Label(authentic=True))])


def test_a_share_below_one_leaves_photos_for_comparison(tmp_path):
    photos = tmp_path / "many"
    photos.mkdir()
    for i in range(40):
        write_photo(photos / f"{i}.png", painted(255, height=100, width=100))
    proposals = Proposals(BrightIsForged(), AnnotationSession(photos), share=0.5)
    offered = {name for name in AnnotationSession(photos).names if proposals.boxes(name) is not None}
    assert 10 <= len(offered) <= 30
    again = Proposals(BrightIsForged(), AnnotationSession(photos), share=0.5)
    assert offered == {name for name in AnnotationSession(photos).names if again.boxes(name) is not None}


def test_a_box_rounded_by_the_canvas_counts_as_unchanged():
    offered = as_boxes([(10, 10, 50, 50), (100, 100, 120, 130)])
    drawn = as_boxes([(100.6, 99.5, 120, 130), (10, 10, 58, 50), (10, 10.4, 50, 50)])
    assert snapped(drawn, offered, 1).tolist() == [[100, 100, 120, 130], [10, 10, 58, 50], [10, 10, 50, 50]]
    np.testing.assert_array_equal(snapped(drawn, None, 1), drawn)
