import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictured():
    """Function that fills a folder with grey images, 100 × 80 pixels by default."""

    def make(folder, *names, size=(100, 80)):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8)).save(folder / name)
        return folder

    return make
