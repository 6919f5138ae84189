import colorsys

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.images import write_photo


@pytest.fixture
def photo_folder(tmp_path):
    """Folder of twelve textured photos with distinct hues, so that a pixel identifies its photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        brightness = rng.uniform(0.35, 1, (10, 12)).repeat(12, 0).repeat(12, 1)
        colour = np.array(colorsys.hsv_to_rgb(i / 12, 1, 255))
        write_photo(folder / f"{i:02d}.png", (brightness[..., None] * colour).astype(np.uint8))
    return folder


@pytest.fixture
def object_folder(tmp_path):
    """Folder of four grey photos with a red rectangle each, and instance maps of the rectangles."""
    folder = tmp_path / "objects"
    for name in ("images", "instances"):
        (folder / name).mkdir(parents=True)
    for i in range(4):
        photo, instances = np.full((80, 100, 3), 100 + i, np.uint8), np.zeros((80, 100), np.uint8)
        photo[20:50, 30:70], instances[20:50, 30:70] = (200, 0, 0), 5
        write_photo(folder / "images" / f"{i:02d}.png", photo)
        Image.fromarray(instances).save(folder / "instances" / f"{i:02d}.png")
    return folder
