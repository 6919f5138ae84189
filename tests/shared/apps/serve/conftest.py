"""A service with a small student, on a port of its own. Needs the extra ``serve``."""

import numpy as np
import pytest
from PIL import Image

for needed in ("fastapi", "fastapi_offline", "uvicorn", "python_multipart"):
    pytest.importorskip(needed, reason="the service is the extra `serve`: pip install 'boxpromptiml[serve]'")


@pytest.fixture(scope="session")
def start():
    """A context in which a student is served; gives what sends requests to it."""
    from service_client import served

    return served


@pytest.fixture(scope="session")
def send(start, localizer):
    """A service with small limits."""
    from boxpromptiml.apps.serve.request_limits import RequestLimits

    with start(localizer, RequestLimits(megabytes=1, megapixels=1, seconds=20)) as sender:
        yield sender


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory):
    """A photo, 90 × 70."""
    path = tmp_path_factory.mktemp("mine") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(path)
    return path
