"""Fixtures: a noise photo, and a writer of image files."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def put(tmp_path):
    """Function that writes an array or a Pillow image to a file, optionally with an EXIF orientation."""

    def put(name, picture, orientation=None, **options):
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        if orientation is not None:
            options["exif"] = Image.Exif()
            options["exif"][274] = orientation
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return put
