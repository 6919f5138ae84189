import numpy as np
from skimage import data

from boxpromptiml.apps.web_app.example_photo import forged_photo


def test_the_photo_equals_the_coffee_photo_outside_the_mask_only():
    photo, mask = forged_photo()
    assert photo.shape == data.coffee().shape
    assert 0.02 < mask.mean() < 0.4
    change = np.abs(photo.astype(int) - data.coffee()).mean(2)
    assert change[~mask].mean() < 4  # JPEG compression
    assert change[mask].mean() > 30
