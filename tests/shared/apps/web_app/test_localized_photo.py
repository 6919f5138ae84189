"""What Localize keeps of a photo: the layer on it, its caption, its regions at its own size."""

import base64
import io

import numpy as np
from PIL import Image

from boxpromptiml.apps.web_app.localized_photo import LocalizedPhoto, regions_of


def view(**facts):
    """A photo of 80 × 40, shown at half its size, whose left half is manipulated for certain."""
    probability = np.zeros((10, 20), np.float32)
    probability[:, :10] = 1
    prior = np.zeros((5, 10), np.float32)
    return LocalizedPhoto("photo.jpg", "data:,", 40, 20, 80, 40, probability, prior, prior, **facts)


def test_the_layer_covers_what_is_above_the_threshold_at_the_size_shown():
    kind, content = view().answer(0.5).split(",")
    layer = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))
    assert kind == "data:image/png;base64"
    assert layer.shape == (20, 40, 4)
    assert (layer[:, :19, 3] > 0).all()
    assert (layer[:, 21:, 3] == 0).all()


def test_the_caption_says_what_was_shrunk_and_how_it_was_looked_at():
    assert view().caption() == "photo.jpg, 80 × 40, shown at 40 × 20"
    assert view(tiled=True).caption().endswith(", in tiles")


def test_regions_are_at_the_size_of_the_photo():
    mask, regions = regions_of(view(), 0.5)
    assert mask.shape == (40, 80)
    assert len(regions) == 1
    assert abs(int(mask.sum()) - 40 * 40) <= 40
