import colorsys

import numpy as np
import pytest

from boxpromptiml.images import write_photo


@pytest.fixture
def photo_folder(tmp_path):
    """Twelve textured photos, each of a hue of its own, so that a pixel tells which photo it comes from."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        brightness = rng.uniform(0.35, 1, (10, 12)).repeat(12, 0).repeat(12, 1)
        colour = np.array(colorsys.hsv_to_rgb(i / 12, 1, 255))
        write_photo(folder / f"{i:02d}.png", (brightness[..., None] * colour).astype(np.uint8))
    return folder
