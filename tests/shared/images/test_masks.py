"""Images that are masks, and images that could be mistaken for masks."""

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.images import MissingMaskError, NotAMaskError, doubt, read_mask

MARKED = np.zeros((40, 60), bool)
MARKED[10:30, 20:45] = True
GREY = MARKED.astype(np.uint8) * 255
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def test_palette_masks_are_read_by_their_displayed_value(put):
    mask = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    mask.putpalette([0, 0, 0, 255, 255, 255, 100, 100, 100])
    assert read_mask(put("mask.png", mask)).tolist() == [[False, True, False]]


def palette(colour):
    picture = Image.fromarray(MARKED.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, *colour])
    return picture


def soft():
    from cv2 import GaussianBlur

    return GaussianBlur(GREY, (0, 0), 1.5)


MASKS = {
    "grey.png": GREY,
    "two levels.png": Image.fromarray(MARKED),
    "two levels.tif": Image.fromarray(MARKED),
    "colours.png": np.dstack([GREY] * 3),
    "compressed.jpg": np.dstack([GREY] * 3),
    "palette.png": palette((255, 255, 255)),
    "palette.gif": palette((255, 255, 255)),
    "sixteen bits.png": MARKED.astype(np.uint16) * 65_535,
    "floats.tif": MARKED.astype(np.float32),
    "opaque.png": np.dstack([GREY, GREY, GREY, GREY * 0 + 255]),
    "the same in alpha.png": np.dstack([GREY, GREY, GREY, GREY]),
    "soft.png": soft(),
    "of one grey.png": GREY // 255 * 200,
    "of one grey.jpg": np.dstack([GREY // 255 * 200] * 3),
    "lines of a grey.png": np.where(MARKED, GREY, np.uint8(100) * (np.indices((40, 60))[0] % 39 == 2).astype(np.uint8)),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_format_are_read(put, name):
    found = read_mask(put(name, MASKS[name]))
    assert (found != MARKED).mean() < 0.01


NO_MASKS = {
    "three levels.png": (
        np.where(MARKED, GREY, np.uint8(100) * (np.indices((40, 60))[0] < 5).astype(np.uint8)),
        "areas with 2 grey values",
    ),
    "ones.png": (MARKED.astype(np.uint8), "brightest pixel is 1 of 255"),
    "ones.tif": (MARKED.astype(np.uint8), "brightest pixel is 1 of 255"),
    "voc.png": (palette((128, 0, 0)), "colours, such as 128 0 0"),
    "dark palette.png": (palette((90, 90, 90)), "brightest pixel is 90 of 255"),
    "red.png": (np.dstack([GREY, GREY * 0, GREY * 0]), "colours, such as 255 0 0"),
    "yellow.png": (np.dstack([GREY, GREY, GREY * 0]), "colours, such as 255 255 0"),
    "255 in sixteen bits.png": (MARKED.astype(np.uint16) * 255, "255 of 65535"),
    "1 in sixteen bits.tif": (MARKED.astype(np.uint16), "1 of 65535"),
    "255 in floats.tif": (MARKED.astype(np.float32) * 255, "but only 0"),
    "whole numbers.tif": (MARKED.astype(np.int32) * 255, "32-bit integer"),
    "white with alpha.png": (np.dstack([GREY * 0 + 255] * 3 + [GREY]), "transparent in 79.2%"),
    "grey with alpha.png": (np.dstack([GREY * 0 + 255, GREY]), "transparent"),
    "black with alpha.png": (np.dstack([GREY * 0] * 3 + [GREY]), "transparent"),
    "cutout.png": (np.dstack([PHOTO, GREY]), "colours"),
    "cutout on black.png": (PHOTO * MARKED[..., None], "colours"),
    "grey cutout.png": (PHOTO[..., 0] * MARKED, "of the mask is grey"),
    "photo.png": (PHOTO, "colours"),
    "grey photo.png": (PHOTO[..., 0], "of the mask is grey"),
}


@pytest.mark.parametrize("name", NO_MASKS)
@pytest.mark.parametrize("form", ["white", "black"])
def test_an_image_that_is_not_a_mask_is_refused_with_the_values_found(put, name, form):
    picture, words = NO_MASKS[name]
    path = put(name, picture)
    with pytest.raises(NotAMaskError, match=words) as caught:
        read_mask(path, form)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("form", ["green", "not_black"])
def test_dark_coloured_masks_are_refused_too(put, form):
    with pytest.raises(NotAMaskError, match="brightest pixel is 1 of 255"):
        read_mask(put("ones.png", MARKED.astype(np.uint8)), form)


def test_every_format_marks_the_same_pixels(put):
    red_and_green = np.where(MARKED[..., None], np.uint8([0, 200, 0]), np.uint8([200, 0, 0]))
    pictures = {"white": GREY, "black": 255 - GREY, "green": red_and_green, "not_black": GREY // 4}
    for form, picture in pictures.items():
        np.testing.assert_array_equal(read_mask(put(f"{form}.png", picture), form), MARKED)


def test_a_missing_mask_is_reported_as_missing(tmp_path):
    with pytest.raises(MissingMaskError, match="restore the mask, or set mask_file to null"):
        read_mask(tmp_path / "mask.png")


def test_nearly_empty_and_nearly_full_masks_are_reported():
    mask = np.zeros((200, 200), bool)
    assert doubt(MARKED) == doubt(mask) == ""
    mask[0, 0] = True
    assert "marks 1 of 40,000 pixels" in doubt(mask)
    assert "covers 100.0%" in doubt(~mask)
