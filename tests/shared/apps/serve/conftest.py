"""A service with a small student, on a free port. Needs the extra ``serve``."""

import numpy as np
import pytest
from PIL import Image

for needed in ("fastapi", "fastapi_offline", "uvicorn", "python_multipart"):
    pytest.importorskip(needed, reason="the service is the extra `serve`: pip install 'boxpromptiml[serve]'")


@pytest.fixture(scope="session")
def start():
    """Function that returns a context manager: it serves a student and yields a client for it."""
    from service_client import served

    return served


@pytest.fixture(scope="session")
def send(start, localizer):
    """Client of a service with small limits."""
    from boxpromptiml.apps.serve.request_limits import RequestLimits

    with start(localizer, RequestLimits(megabytes=1, megapixels=1, seconds=20)) as sender:
        yield sender


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory):
    """A photo file of 90 × 70 pixels."""
    path = tmp_path_factory.mktemp("mine") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(path)
    return path
