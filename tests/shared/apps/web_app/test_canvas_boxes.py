"""Conversion of boxes between photo and canvas, for any input from a browser."""

import math

import numpy as np
import pytest

from boxpromptiml.apps.web_app.annotation_files import AnnotationSessionError
from boxpromptiml.apps.web_app.canvas_boxes import MAX_BOXES, drawn_boxes, nudged, on_canvas
from boxpromptiml.apps.web_app.teacher_preview import HEIGHT, WIDTH, Previewer
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.images import write_photo
from stage1_pseudomask.teachers.grabcut import GrabCut


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A photo of 600 × 400 pixels, opened as the tab does."""
    path = tmp_path_factory.mktemp("canvas") / "a.png"
    write_photo(path, np.full((400, 600, 3), 90, np.uint8))
    return Previewer(GrabCut()).open(path)


def test_boxes_survive_the_round_trip_to_the_canvas(photo):
    boxes = as_boxes([(10, 20, 110, 220), (599, 399, 600, 400)])
    value = on_canvas(photo, boxes)
    assert value["image"].shape == (HEIGHT, WIDTH, 3)  # for photos of any shape
    assert on_canvas(photo, boxes, proposed=True)["boxes"][0]["color"] != value["boxes"][0]["color"]
    np.testing.assert_allclose(drawn_boxes(value, photo), boxes, atol=0.02)
    halved = [{side: box[side] / 2 for side in ("xmin", "ymin", "xmax", "ymax")} for box in value["boxes"]]
    scaled = {"boxes": [box | {"scaleFactor": 0.5} for box in halved]}  # as in a narrow window
    np.testing.assert_allclose(drawn_boxes(scaled, photo), boxes, atol=0.02)


def test_boxes_are_clipped_to_the_photo_and_specks_dropped(photo):
    box = {"xmin": WIDTH, "ymin": HEIGHT / 2, "xmax": -50, "ymax": HEIGHT}
    speck = {"xmin": 300, "ymin": 200, "xmax": 300, "ymax": 200}  # the start of every drag
    outside = {"xmin": -50, "ymin": -50, "xmax": -5, "ymax": -5}
    endless = {"xmin": math.nan, "ymin": -math.inf, "xmax": math.inf, "ymax": 3}
    found = drawn_boxes({"boxes": [box, speck, outside, endless]}, photo)
    np.testing.assert_allclose(found, [(0, 200, 600, 400)], atol=0.02)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {},
        "boxes",
        {"boxes": 3},
        {"boxes": [3]},
        {"boxes": [{}]},
        {"boxes": [{"xmin": "x", "ymin": 0, "xmax": 1, "ymax": 1}]},
        {"boxes": [{"xmin": None, "ymin": 0, "xmax": 1, "ymax": 1}]},
        {"boxes": [{"xmin": [1], "ymin": 0, "xmax": 1, "ymax": 1}]},
        {"boxes": [{"xmin": 10**400, "ymin": 0, "xmax": 1, "ymax": 1}]},
        {"boxes": [], "orientation": 1},
        {"boxes": [{"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}] * (MAX_BOXES + 1)},
    ],
)
def test_anything_but_boxes_is_refused_with_a_message(photo, payload):
    with pytest.raises(AnnotationSessionError, match=r"reload the page|draw fewer, coarser ones"):
        drawn_boxes(payload, photo)


def test_keys_draw_move_and_resize(photo):
    boxes = nudged(as_boxes([(0, 0, 5, 5)]), photo, "b")
    assert boxes.tolist() == [[180, 120, 420, 280], [0, 0, 5, 5]]
    assert nudged(boxes, photo, "shift-left")[0].tolist() == [168, 120, 408, 280]
    assert nudged(boxes, photo, "ctrl-down")[0].tolist() == [180, 120, 420, 292]
    for key in ("shift-left", "shift-up", "ctrl-right", "ctrl-up"):
        pressed = boxes
        for _ in range(60):
            pressed = nudged(pressed, photo, key)
        x1, y1, x2, y2 = pressed[0]
        assert 0 <= x1 < x2 <= 600
        assert 0 <= y1 < y2 <= 400
    assert len(nudged(as_boxes([]), photo, "shift-left")) == 0
