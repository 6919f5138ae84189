"""Answers contain the mask in the requested encoding, at the photo's own size."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from boxpromptiml.apps.serve.answer import encoded_answer
from stage2_distill.inference.scored_map import ScoredMap

FOUND = np.linspace(0, 1, 80, dtype=np.float32).reshape(8, 10)


def answer(form, probability=False, size=(10, 8)):
    return json.loads(encoded_answer("photo.png", ScoredMap(FOUND, 0.75), *size, form, probability, 0.5))


def test_masks_in_run_lengths_are_read_by_pycocotools():
    np.testing.assert_array_equal(coco_mask.decode(answer("rle")["mask"]), FOUND > 0.5)


def test_pictures_are_8_bit_pngs_at_the_size_of_the_photo():
    told = answer("png", probability=True, size=(20, 16))
    for name in ("mask", "probability"):
        picture = Image.open(io.BytesIO(base64.b64decode(told[name])))
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (20, 16))
    assert (told["width"], told["height"]) == (20, 16)


def test_what_was_not_asked_for_is_left_out():
    told = answer("none")
    assert (told["mask"], told["probability"]) == (None, None)
    assert told["score"] == 0.75
    assert told["area"] == pytest.approx(0.5)
    assert [region["box_xyxy"] for region in told["regions"]] == [[0, 4, 10, 8]]
