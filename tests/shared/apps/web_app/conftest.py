"""The web app with a small student. Needs the extra ``app``."""

from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the page is the extra `app`: pip install 'boxpromptiml[app]'")
pytest.importorskip("gradio_image_annotation", reason="the page is the extra `app`: pip install 'boxpromptiml[app]'")


@pytest.fixture(scope="session")
def disk():
    """Function that returns a noisy photo with a bright disk, and the mask of the disk."""

    def disk(rng, height, width, centre, radius):
        photo = rng.integers(40, 100, (height, width, 3), dtype=np.uint8)
        y, x = np.mgrid[:height, :width]
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
        photo[inside] += 110
        return photo, inside

    return disk


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory, disk):
    """A photo file with a disk on noise, 200 × 150 pixels."""
    path = tmp_path_factory.mktemp("mine") / "disk.png"
    Image.fromarray(disk(np.random.default_rng(0), 150, 200, (100, 75), 30)[0]).save(path)
    return path


@pytest.fixture(scope="session")
def open_page():
    """Function that serves the given contents until the tests end and returns the address."""
    from boxpromptiml.apps.web_app.page import served

    with ExitStack() as pages:
        yield lambda contents, **options: pages.enter_context(served(contents, **options))


@pytest.fixture
def serve(visit):
    """Context manager that serves contents in a test; on exit it closes the browser pages that block the server."""
    from boxpromptiml.apps.web_app.page import served

    @contextmanager
    def serve(contents):
        with served(contents) as address:
            yield address
            visit.close()

    return serve


@pytest.fixture
def until():
    """Function that waits, with the browser running, until a condition holds on the server's side."""

    def until(page, holds, seconds=60):
        for _ in range(seconds * 20):
            if holds():
                return
            page.wait_for_timeout(50)
        raise AssertionError(f"waited for {seconds} seconds")

    return until
