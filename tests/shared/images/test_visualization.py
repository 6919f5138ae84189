import base64
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from boxpromptiml.images import visualization

rng = np.random.default_rng(0)
PHOTO = rng.integers(0, 200, (40, 60, 3), dtype=np.uint8)


def test_overlay_marks_the_region_and_nothing_else():
    probability = np.zeros((40, 60), np.float32)
    probability[10:20, 10:30] = 0.9
    probability[30:35, 40:50] = 0.5  # equal to the threshold, so not marked
    before = PHOTO.copy()
    marked = visualization.overlay(PHOTO, probability)
    changed = (marked != PHOTO).any(axis=2)
    assert changed[10:20, 10:30].all()
    assert not changed[22:].any()
    assert not changed[:, 33:].any()
    assert (marked[14, 20].astype(int) >= PHOTO[14, 20]).any()
    assert np.array_equal(PHOTO, before), "the photo itself is not drawn on"


def test_the_layer_composited_on_the_photo_is_the_overlay():
    probability = np.zeros((40, 60), np.float32)
    probability[10:30, 20:50] = 1
    with Image.open(BytesIO(visualization.overlay_layer(probability > 0.5, border=(0, 229, 255)))) as layer:
        whole = Image.alpha_composite(Image.fromarray(PHOTO).convert("RGBA"), layer.convert("RGBA")).convert("RGB")
    expected = visualization.overlay(PHOTO, probability, border=(0, 229, 255))
    assert np.abs(np.asarray(whole, int) - expected).max() <= 2


def test_the_tint_is_blended_into_every_pixel_inside():
    region = np.zeros((40, 60), np.float32)
    region[5:35, 5:55] = 1
    marked = visualization.overlay(PHOTO, region, opacity=0.25)[10:30, 10:50]
    mixed = 0.75 * PHOTO[10:30, 10:50] + 0.25 * np.array(visualization.TINT)
    assert np.abs(marked - mixed).max() <= 1


def test_overlay_without_a_region_is_the_photo():
    assert np.array_equal(visualization.overlay(PHOTO, np.zeros((40, 60), np.float32)), PHOTO)


def test_the_heat_map_is_monotonic_in_grey():
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    printed = np.asarray(Image.fromarray(visualization.heat(ramp)).convert("L")).astype(int)[0]
    assert (np.diff(printed) >= -1).all()
    assert printed[-1] - printed[0] > 150


@given(st.floats(0, 1, width=32))
def test_the_grey_map_shows_the_probability(value):
    pixel = visualization.grey(np.full((1, 1), value, np.float32))[0, 0]
    assert pixel == pytest.approx([value * 255] * 3, abs=0.51)


def test_a_box_is_drawn_on_its_outermost_pixels():
    boxed = visualization.with_boxes(np.zeros((40, 60, 3), np.uint8), np.array([[10, 5, 30, 25]], np.float32))
    rows, columns = np.nonzero(boxed.any(axis=2))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (10, 5, 30, 25)
    assert not boxed[8:20, 15:25].any(), "the inside stays free"


def test_no_box_changes_nothing():
    assert np.array_equal(visualization.with_boxes(PHOTO, np.zeros((0, 4), np.float32)), PHOTO)


def test_the_outline_follows_the_border_of_the_region():
    region = np.zeros((40, 60), bool)
    region[10:30, 10:30] = True
    changed = (visualization.outlined(np.zeros((40, 60, 3), np.uint8), region) > 0).any(axis=2)
    assert changed[10, 10:30].all()
    assert not changed[15:25, 15:25].any()
    assert not changed[:, 40:].any()


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 64))
def test_thumbnails_fit_and_keep_the_aspect_ratio(height, width, side):
    small = visualization.thumbnail(np.zeros((height, width, 3), np.uint8), side)
    assert max(small.shape[:2]) == min(side, max(height, width))
    factor = max(small.shape[:2]) / max(height, width)
    assert small.shape[:2] == pytest.approx((height * factor, width * factor), abs=1)


def test_the_data_uri_holds_the_image_in_rgb():
    photo = np.zeros((16, 16, 3), np.uint8)
    photo[..., 0] = 200  # would turn blue if channels were swapped
    kind, text = visualization.data_uri(photo).split(",", 1)
    assert kind == "data:image/jpeg;base64"
    read = np.asarray(Image.open(BytesIO(base64.b64decode(text))))
    assert np.abs(read.astype(int) - photo).max() < 8


@pytest.mark.parametrize("count", [1, 3])
def test_the_sheet_shows_every_image(tmp_path, count):
    colours = [(230, 20, 20), (20, 230, 20)]
    rows = [[np.full((8, 8, 3), colour, np.uint8) for colour in colours] for _ in range(count)]
    path = tmp_path / "new/sheet.png"
    visualization.sheet(rows, ["left", "right"], [f"image {i}" for i in range(count)], path)
    drawn = np.asarray(Image.open(path).convert("RGB")).astype(int)
    areas = [(np.abs(drawn - colour).max(axis=2) < 5).sum() for colour in colours]
    assert min(areas) > 5_000 * count
    assert areas[0] == pytest.approx(areas[1], rel=0.05)
