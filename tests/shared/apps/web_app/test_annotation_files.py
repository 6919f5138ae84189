"""Files of an annotated folder: links, unusual names and broken content never lose a decision."""

import json
import os

import pytest
from PIL import Image

from boxpromptiml.apps.web_app.annotation_files import BEFORE, MANIFEST, NOTES, AnnotationSessionError
from boxpromptiml.apps.web_app.annotation_session import AnnotationSession, opened
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import read_manifest, write_manifest

BOX = as_boxes([(5, 6, 20, 18)])


@pytest.fixture
def folder(tmp_path):
    """Folder of three photos, one in a subfolder."""
    photos = tmp_path / "photos"
    for name in ("a.png", "b.jpg", "more/c.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (90, 90, 90)).save(photos / name)
    return photos


def records(folder):
    return {record.path.relative_to(folder).as_posix(): record for record in read_manifest(folder / MANIFEST).records}


def test_links_out_of_the_folder_are_not_followed(folder, tmp_path):
    """The folder as an untrusted archive could unpack it."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (40, 30)).save(secret)
    content = secret.read_bytes()
    (folder / "link.png").symlink_to(secret)
    (folder / "up.png").symlink_to("../secret.png")
    (folder / "ring.png").symlink_to("ring.png")
    (folder / "dir").symlink_to(tmp_path)
    for name in (MANIFEST, NOTES, BEFORE):
        (folder / f".{name}.partial").symlink_to(secret)
    (folder / ".lock").symlink_to(secret)
    (folder / NOTES).unlink(missing_ok=True)
    with opened(folder) as session:
        assert session.names == ["a.png", "b.jpg", "more/c.png"]
        assert len(session.left_out) == 2
        assert "points outside" in session.left_out[0]
        (folder / "a.png").unlink()
        (folder / "a.png").symlink_to(secret)  # replaced after the start of the session
        for call in (session.path, session.authentic):
            with pytest.raises(AnnotationSessionError, match="points outside"):
                call(0)
        session.authentic(1)
        session.show(2)
    assert secret.read_bytes() == content
    assert set(records(folder)) == {"b.jpg"}


@pytest.mark.parametrize("name", [MANIFEST, NOTES])
def test_session_files_that_are_links_are_refused(folder, tmp_path, name):
    (tmp_path / "elsewhere.json").write_text('{"images": [], "annotations": []}')
    (folder / name).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(AnnotationSessionError, match="points outside"):
        AnnotationSession(folder)


def test_names_that_a_manifest_cannot_hold_are_left_out_and_reported(folder):
    Image.new("RGB", (40, 30)).save(folder / "a:b.png")
    if os.name == "posix":
        (folder / "b.jpg").rename(folder / os.fsdecode(b"\xff.jpg"))
    session = AnnotationSession(folder)
    assert session.names == ["a.png", "more/c.png"]
    assert all("rename the file" in reason for reason in session.left_out)
    json.dumps(session.left_out).encode("ascii")


def test_a_link_to_a_photo_of_the_same_folder_is_left_out_and_reported(folder):
    (folder / "0.png").symlink_to("a.png")
    session = AnnotationSession(folder)
    assert session.names == ["a.png", "b.jpg", "more/c.png"]
    assert session.left_out == ["0.png: a link to another photo of this folder"]


@pytest.mark.parametrize("name", ["ｆｕｌｌ.png", "a\u202egnp.png", "<script>.png", "‥／x.png", "ä🐈 b.png", "-rf.png"])
def test_unusual_file_names_work(folder, name):
    Image.new("RGB", (40, 30)).save(folder / name)
    session = AnnotationSession(folder)
    session.accept(session.names.index(name), BOX)
    assert name in records(folder)


@pytest.mark.parametrize("content", ["", "[]", '{"steps": 3}', '{"seconds": {"a.png": "x"}}', "\udcff", "[" * 100_000])
def test_a_broken_session_file_is_named_and_the_manifest_is_kept(folder, content):
    AnnotationSession(folder).accept(0, BOX)
    (folder / NOTES).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(AnnotationSessionError, match=r"annotation\.json: cannot be read .*move it away"):
        AnnotationSession(folder)
    assert set(records(folder)) == {"a.png"}


def test_a_manifest_that_would_lose_something_is_refused(folder):
    records = [ImageRecord(i, folder / f"{n}.png", 40, 30, BOX[:i], "train", "x") for i, n in enumerate("ab")]
    write_manifest(folder / MANIFEST, records)
    with pytest.raises(AnnotationSessionError, match="1 images cannot be used and would be lost, the first is a"):
        AnnotationSession(folder)


def test_a_manifest_of_another_folders_photos_is_refused(folder, tmp_path):
    write_manifest(folder / MANIFEST, [ImageRecord(1, folder / "a.png", 40, 30, BOX, "train", "x")], root=tmp_path)
    with pytest.raises(AnnotationSessionError, match="image_root is"):
        AnnotationSession(folder)


def test_a_manifest_with_a_photo_twice_is_refused(folder):
    path = folder / MANIFEST
    images = [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(["a.png", "./a.png"])]
    boxes = [{"id": i, "image_id": i, "bbox": [5, 6, 15, 12]} for i in range(2)]
    path.write_text(json.dumps({"images": images, "annotations": boxes}))
    with pytest.raises(AnnotationSessionError, match=r"lists a\.png more than once"), opened(folder):
        pass
