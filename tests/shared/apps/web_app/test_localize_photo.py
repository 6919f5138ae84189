"""Results of the Localize tab for a photo: overlay layer, caption, and regions at full resolution."""

import base64
import io

import numpy as np
from PIL import Image

from boxpromptiml.apps.web_app.localize_photo import LocalizedPhoto, regions_of


def view(**facts):
    """A photo of 80 × 40 pixels, shown at half size, with probability 1 in its left half."""
    probability = np.zeros((10, 20), np.float32)
    probability[:, :10] = 1
    prior = np.zeros((5, 10), np.float32)
    return LocalizedPhoto("photo.jpg", "data:,", 40, 20, 80, 40, 0.9, probability, prior, prior, **facts)


def test_the_layer_covers_pixels_above_the_threshold_at_the_displayed_size():
    kind, content = view().overlay_uri(0.5).split(",")
    layer = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))
    assert kind == "data:image/png;base64"
    assert layer.shape == (20, 40, 4)
    assert (layer[:, :19, 3] > 0).all()
    assert (layer[:, 21:, 3] == 0).all()


def test_the_caption_names_the_displayed_size_and_tiling():
    assert view().caption() == "photo.jpg, 80 × 40, shown at 40 × 20"
    assert view(tiled=True).caption().endswith(", in tiles")


def test_regions_are_in_pixels_of_the_photo():
    mask, regions = regions_of(view(), 0.5)
    assert mask.shape == (40, 80)
    assert len(regions) == 1
    assert abs(int(mask.sum()) - 40 * 40) <= 40
