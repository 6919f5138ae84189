"""Annotation decisions: none is ever lost, each can be undone, and nothing outside the folder is touched."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.apps.web_app.annotation_files import BEFORE, MANIFEST, AnnotationSessionError
from boxpromptiml.apps.web_app.annotation_session import AnnotationSession, opened
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord, InputError
from boxpromptiml.images import write_mask
from boxpromptiml.manifests.manifest import read_manifest, write_manifest
from boxpromptiml.runtime.locks import LockedError

BOX = as_boxes([(5, 6, 20, 18)])


@pytest.fixture
def folder(tmp_path):
    """Folder of three photos, one in a subfolder."""
    photos = tmp_path / "photos"
    for name in ("a.png", "b.jpg", "more/c.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (90, 90, 90)).save(photos / name)
    return photos


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def records(folder):
    return {record.path.relative_to(folder).as_posix(): record for record in read_manifest(folder / MANIFEST).records}


def test_every_decision_is_written_to_the_manifest_at_once(folder):
    session = AnnotationSession(folder)
    assert session.names == ["a.png", "b.jpg", "more/c.png"]
    session.accept(0, as_boxes([(-9, -9, 10, 12), (20, 10, 99, 99)]))
    assert records(folder)["a.png"].boxes_xyxy.tolist() == [[0, 0, 10, 12], [20, 10, 40, 30]]
    session.authentic(2)
    there = records(folder)
    assert set(there) == {"a.png", "more/c.png"}
    assert there["more/c.png"].authentic
    assert (there["more/c.png"].width, there["more/c.png"].height) == (40, 30)
    assert there["a.png"].source == "photos"
    assert [session.next_open(place) for place in range(3)] == [1, 1, 1]


def test_a_new_session_continues_where_the_last_one_stopped(folder):
    first = AnnotationSession(folder)
    first.show(0)
    first.accept(0, BOX)
    first.show(1)
    assert first.draft(1, BOX)
    second = AnnotationSession(folder)
    assert second.current == 1
    np.testing.assert_array_equal(second.boxes(1), BOX)  # drawn but never accepted
    np.testing.assert_array_equal(second.boxes(0), BOX)
    assert second.undo() == 0
    assert records(folder) == {}
    np.testing.assert_array_equal(second.boxes(0), BOX)  # a draft to be corrected


def test_a_draft_that_hardly_differs_is_not_kept(folder):
    session = AnnotationSession(folder)
    session.accept(0, BOX)
    assert not session.draft(0, BOX + 0.9, tolerance=1)
    assert session.draft(0, BOX + 1.1, tolerance=1)
    assert session.draft(0, as_boxes([]))
    assert len(session.boxes(0)) == 0  # cleared although boxes had been accepted


def test_undo_goes_back_step_by_step(folder):
    session = AnnotationSession(folder)
    session.accept(0, BOX)
    session.authentic(0)
    session.accept(1, BOX)
    assert [session.undo(), session.undo()] == [1, 0]
    assert not session.label(0).authentic
    assert session.label(1) is None
    assert session.undo() == 0
    assert session.undo() is None
    assert records(folder) == {}


def test_seconds_are_counted_while_a_photo_is_shown(folder):
    clock = Clock()
    session = AnnotationSession(folder, clock=clock)
    session.show(0)
    clock.now += 4
    session.show(0)  # as after a reload of the page
    clock.now += 2
    session.show(1)
    clock.now += 9
    session.show(0)
    clock.now += 1
    session.accept(0, BOX)
    assert session.progress().median_seconds == 7
    session.show(1)
    clock.now += 2
    session.authentic(1)
    assert session.progress().median_seconds == (7 + 11) / 2
    assert session.progress().done == 2
    session.undo()
    assert session.progress().median_seconds == 7
    assert AnnotationSession(folder).progress().median_seconds == 7


def test_an_existing_manifest_is_continued(folder):
    write_mask(folder / "a_mask.png", np.ones((30, 40), bool))
    known = ImageRecord(7, folder / "a.png", 40, 30, BOX, "test", "columbia", folder / "a_mask.png", kind="splice")
    gone = ImageRecord(9, folder / "gone.png", 40, 30, BOX, "val", "columbia")
    write_manifest(folder / MANIFEST, [known, gone])
    before = (folder / MANIFEST).read_bytes()
    session = AnnotationSession(folder)
    assert session.names == ["a.png", "b.jpg", "more/c.png"]  # the mask is not a photo
    session.accept(0, BOX + 1)
    session.accept(1, BOX)
    there = records(folder)
    assert (there["a.png"].split, there["a.png"].source, there["a.png"].kind) == ("test", "columbia", "splice")
    assert there["a.png"].mask_path == folder / "a_mask.png"
    assert there["a.png"].boxes_xyxy[0, 0] == 6
    assert there["gone.png"].image_id == 9
    assert there["b.jpg"].image_id == 10
    assert (folder / BEFORE).read_bytes() == before
    assert session.place_of(7, 40, 30) == 0
    assert session.place_of(7, 41, 30) is None
    assert session.place_of(9, 40, 30) is None  # its file is missing


def test_new_photos_go_to_val_by_name(folder):
    session = AnnotationSession(folder, val_share=0.5, seed=3)
    for place in range(3):
        session.authentic(place)
    assert {record.split for record in records(folder).values()} == {"train", "val"}
    with pytest.raises(InputError, match="val_share is 1"):
        AnnotationSession(folder, val_share=1)


@pytest.mark.parametrize("failing", range(1, 9))
def test_a_disk_error_loses_no_decision(folder, monkeypatch, failing):
    session = AnnotationSession(folder)
    real, calls, saved = os.fsync, [0], []

    def fsync(descriptor):
        calls[0] += 1
        if calls[0] == failing:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for place, decide in enumerate([lambda p: session.accept(p, BOX), session.authentic, session.authentic]):
        try:
            session.show(place)
            decide(place)
        except OSError:
            continue
        saved.append(session.names[place])
    assert set(saved) <= set(records(folder) if (folder / MANIFEST).exists() else ())
    after = AnnotationSession(folder)
    for place, name in enumerate(session.names):
        if name in saved:
            assert after.label(place) == session.label(place)


def test_the_folder_is_locked_during_a_session(folder):
    with opened(folder):
        program = (
            "from pathlib import Path; import sys; from boxpromptiml.apps.web_app.annotation_session import opened\n"
        )
        program += "with opened(Path(sys.argv[1])): pass"
        answer = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True)
        assert LockedError.__name__ in answer.stderr
        assert "in use by" in answer.stderr
    with opened(folder):
        pass


@pytest.mark.parametrize(("place", "boxes"), [(0, []), (0, [(50, 50, 60, 60)]), (0, [(9, 9, 3, 3)])])
def test_without_a_usable_box_nothing_is_accepted(folder, place, boxes):
    with pytest.raises(AnnotationSessionError, match="no box in this photo"):
        AnnotationSession(folder).accept(place, as_boxes(boxes))
    assert not (folder / MANIFEST).exists()


@pytest.mark.parametrize("place", [-1, 3, 10**9])
def test_an_invalid_position_is_refused(folder, place):
    session = AnnotationSession(folder)
    for call in (session.path, session.show, session.authentic, session.label, session.boxes):
        with pytest.raises(AnnotationSessionError, match="there is no photo"):
            call(place)


def test_an_unreadable_photo_is_not_offered_again(folder):
    (folder / "b.jpg").write_bytes(b"")
    session = AnnotationSession(folder)
    with pytest.raises(InputError, match="empty"):
        session.authentic(1)
    session.set_aside(1)
    assert session.next_open(0) == 2
    assert AnnotationSession(folder).next_open(0) == 1


def test_folders_without_photos_are_named(tmp_path):
    with pytest.raises(AnnotationSessionError, match="no photo found"):
        AnnotationSession(tmp_path)
    with pytest.raises(AnnotationSessionError, match="no such folder"), opened(tmp_path / "none"):
        pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everybody may write here")
def test_a_read_only_folder_loses_nothing_in_memory(folder):
    session = AnnotationSession(folder)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OSError, match="denied"):
        session.accept(0, BOX)
    assert session.label(0) is None
    folder.chmod(stat.S_IRWXU)
