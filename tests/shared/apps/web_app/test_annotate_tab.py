"""Drawing boxes in a real browser, with the mouse and with the keyboard alone, across reloads and restarts."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.apps.web_app.annotate_tab import AnnotationContext, show, show_next
from boxpromptiml.apps.web_app.annotation_files import MANIFEST
from boxpromptiml.apps.web_app.annotation_session import AnnotationSession
from boxpromptiml.apps.web_app.page import Contents, build
from boxpromptiml.apps.web_app.proposals import Proposals
from boxpromptiml.apps.web_app.teacher_preview import HEIGHT, WIDTH, Previewer
from boxpromptiml.images import write_photo
from boxpromptiml.manifests.manifest import read_manifest
from stage1_pseudomask.teachers.grabcut import GrabCut

CENTRE, RADIUS = (300, 200), 60


@pytest.fixture
def folder(tmp_path, disk):
    """Folder of four photos of different shapes, each with a disk, and a broken one after the first."""
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, height, width in (("a", 400, 600), ("c", 800, 420), ("d", 400, 600), ("e", 300, 800)):
        write_photo(photos / f"{name}.png", disk(rng, height, width, CENTRE, RADIUS)[0])
    (photos / "b.png").write_bytes(b"not a photo")
    return photos


@pytest.fixture
def context(folder):
    return AnnotationContext(AnnotationSession(folder), Previewer(GrabCut()))


class BrightIsForged:
    """A stub student that marks bright pixels, such as the disks."""

    threshold = 0.5
    student = SimpleNamespace(image_size=128)

    def localize(self, photos):
        return [(photo[..., 0] > 130).astype(np.float32) for photo in photos]


def labels(folder):
    if not (folder / MANIFEST).exists():
        return {}
    return {record.path.name: record for record in read_manifest(folder / MANIFEST).records}


def test_unreadable_photos_are_reported_and_skipped(context):
    canvas, place, _, reply, _ = show_next(context, 0)
    assert place == 2
    assert canvas is not None
    assert "left out: b.png: not a readable image" in reply
    empty, place, title, reply, _ = show(context, 1)
    assert empty is None
    assert "b.png" in title
    assert "not a readable image" in reply
    for place in (0, 2, 3, 4):
        context.session.authentic(place)
    assert "boxpromptiml pseudomasks" in show_next(context, 4)[3]


def test_names_are_escaped(folder):
    name = "<img src=x onerror=alert(1)>.png"
    Image.new("RGB", (9, 9)).save(folder / name)
    context = AnnotationContext(AnnotationSession(folder), Previewer(GrabCut()))
    assert "<img src=x" not in "".join(show(context, context.session.names.index(name))[2:])


def draw(page, corners, photo=(600, 400)):
    """Draw a box with the mouse, corners in pixels of the photo."""
    canvas = page.locator("#canvas canvas").bounding_box()
    factor = min(WIDTH / photo[0], HEIGHT / photo[1]) * canvas["height"] / HEIGHT
    left = canvas["x"] + (canvas["width"] - photo[0] * factor) / 2
    top = canvas["y"] + (canvas["height"] - photo[1] * factor) / 2
    (x1, y1), (x2, y2) = corners
    page.mouse.move(left + x1 * factor, top + y1 * factor)
    page.mouse.down()
    page.mouse.move(left + (x1 + x2) / 2 * factor, top + (y1 + y2) / 2 * factor)
    page.mouse.move(left + x2 * factor, top + y2 * factor)
    page.mouse.up()


def wait_for(page, place, name):
    page.wait_for_selector(f"#title >> text={place} of 5 {name}.png")
    page.wait_for_selector('#canvas .selected[aria-label="Create box"]')
    page.wait_for_timeout(300)  # the canvas receives its photo after the title


def test_the_tab_opens_without_an_error_message(visit, serve, context):
    with serve(Contents(annotation=context)) as address:
        page = visit(address)
        page.get_by_role("tab", name="Localize").click()
        page.get_by_role("tab", name="Annotate").click()
        wait_for(page, 1, "a")
        page.wait_for_timeout(1000)
        assert page.locator("#reply .error").count() == 0


def test_a_canvas_that_arrives_before_the_photo_number_shows_the_photo(context):
    page = build(Contents(annotation=context))
    listeners = [fn.fn for fn in page.fns.values() if any(event == "change" for _, event in fn.targets)]
    assert listeners
    for listener in listeners:
        _, place, title, reply, _ = listener(None, None)
        assert place == 0
        assert "a.png" in title
        assert "reload" not in reply


def test_draw_a_box_see_a_mask_reload_and_nothing_is_lost(visit, serve, folder, context):
    tight = ((CENTRE[0] - RADIUS, CENTRE[1] - RADIUS), (CENTRE[0] + RADIUS, CENTRE[1] + RADIUS))
    loose = ((tight[0][0] - 10, tight[0][1] - 8), (tight[1][0] + 9, tight[1][1] + 12))
    with serve(Contents(annotation=context)) as address:
        page = visit(address)
        wait_for(page, 1, "a")
        draw(page, loose)
        page.wait_for_selector("#reply figure.mask")
        page.reload()
        wait_for(page, 1, "a")
        page.wait_for_selector("#reply figure.mask")  # the box and its mask are still there
        assert labels(folder) == {}
        page.keyboard.press("Enter")
        wait_for(page, 3, "c")
        np.testing.assert_allclose(labels(folder)["a.png"].boxes_xyxy, [np.ravel(loose)], atol=2)
        draw(page, loose, (420, 800))  # portrait after landscape: the frame does not move
        page.wait_for_selector("#reply figure.mask")
        assert "1 of 5" in page.inner_text("#progress")
        assert page.left == []
    again = AnnotationContext(AnnotationSession(folder), Previewer(GrabCut()))
    with serve(Contents(annotation=again)) as address:  # as after a crash
        page = visit(address)
        wait_for(page, 3, "c")
        page.wait_for_selector("#reply figure.mask")
        page.click("text=Accept")
        wait_for(page, 4, "d")
    np.testing.assert_allclose(labels(folder)["c.png"].boxes_xyxy, [np.ravel(loose)], atol=2)
    seconds = json.loads((folder / "annotation.json").read_text())["seconds"]
    assert set(seconds) == {"a.png", "c.png"}
    assert all(0 < each < 60 for each in seconds.values())


def test_the_keyboard_alone_is_enough(visit, serve, until, folder, context):
    with serve(Contents(annotation=context)) as address:
        page = visit(address)
        wait_for(page, 1, "a")
        page.keyboard.press("Enter")
        page.wait_for_selector("#reply >> text=there is no box in this photo")
        page.keyboard.press("b")
        page.wait_for_selector("#reply figure.mask")
        page.keyboard.press("Shift+ArrowLeft")
        until(page, lambda: abs(context.session.boxes(0)[0, 0] - 168) < 1)
        page.keyboard.press("Enter")
        page.keyboard.press("n")  # too early: it must not apply to the photo just accepted
        wait_for(page, 3, "c")
        np.testing.assert_allclose(labels(folder)["a.png"].boxes_xyxy, [(168, 120, 408, 280)], atol=1)
        if "c.png" not in labels(folder):
            page.keyboard.press("n")
        wait_for(page, 4, "d")
        assert labels(folder)["c.png"].authentic
        page.keyboard.press("Control+z")
        wait_for(page, 3, "c")
        assert "c.png" not in labels(folder)
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#reply >> text=not a readable image")
        page.keyboard.press("ArrowLeft")
        wait_for(page, 1, "a")
        page.keyboard.press("r")
        page.wait_for_selector("#reply >> text=Draw a box around")
        assert len(labels(folder)["a.png"].boxes_xyxy) == 1  # until other boxes are accepted


def test_proposed_boxes_are_accepted_with_one_key_or_corrected(visit, serve, until, folder):
    session = AnnotationSession(folder)
    context = AnnotationContext(session, Previewer(GrabCut()), Proposals(BrightIsForged(), session))
    names = [name.removesuffix(".png") for name in session.names]
    with serve(Contents(annotation=context)) as address:
        page = visit(address)
        wait_for(page, 1, names[0])
        page.wait_for_selector("#title >> text=proposed")
        page.wait_for_selector("#reply figure.mask")
        page.wait_for_timeout(600)
        assert labels(folder) == {}
        page.keyboard.press("Enter")
        wait_for(page, 2, names[1])
        (offered,) = context.proposals.boxes(session.names[0])
        np.testing.assert_array_equal(labels(folder)[session.names[0]].boxes_xyxy, [offered])
        page.keyboard.press("Shift+ArrowRight")
        until(page, lambda: not session.is_proposal(1))
        page.keyboard.press("Enter")
        wait_for(page, 3, names[2])
        for place in (2, 3):
            session.authentic(place)
        page.keyboard.press("ArrowLeft")
        wait_for(page, 2, names[1])
        page.keyboard.press("Enter")
        page.wait_for_selector("#reply >> text=1 of 3 proposed boxes were accepted unchanged")
        assert "boxpromptiml pseudomasks" in page.inner_text("#reply")


def test_a_full_disk_is_reported_and_the_box_stays(visit, serve, folder, context, monkeypatch):
    def full(path, records, description):
        raise OSError(28, "No space left on device", str(path))

    with serve(Contents(annotation=context)) as address:
        page = visit(address)
        wait_for(page, 1, "a")
        draw(page, ((200, 100), (380, 280)))
        page.wait_for_selector("#reply figure.mask")
        with monkeypatch.context() as patch:
            patch.setattr("boxpromptiml.apps.web_app.annotation_session.write_manifest", full)
            page.keyboard.press("Enter")
            page.wait_for_selector("#reply >> text=No space left on device")
        page.keyboard.press("Enter")
        wait_for(page, 3, "c")
    assert "a.png" in labels(folder)
