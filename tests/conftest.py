import os
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # a busy machine must not fail a test
settings.load_profile("any machine")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it; tests need Ctrl-C


@pytest.fixture(scope="session")
def lab():
    """Folder of real photos and forgeries, not part of the repository."""
    folder = Path(os.environ.get("BOXPROMPTIML_LAB", Path(__file__).parents[2] / "shared" / "lab"))
    if not folder.is_dir():
        pytest.skip("no lab here; BOXPROMPTIML_LAB can name it")
    return folder
