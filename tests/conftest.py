import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lab():
    """Folder of real photos and forgeries, which is no part of the project."""
    folder = Path(os.environ.get("BOXPROMPTIML_LAB", Path(__file__).parents[2] / "shared" / "lab"))
    if not folder.is_dir():
        pytest.skip("no lab here; BOXPROMPTIML_LAB can name it")
    return folder
