"""SIGTERM ends a program with code 0, after its clean-up."""

import signal
import subprocess
import sys

import pytest

from boxpromptiml.runtime.signals import exits_on_sigterm

PROGRAM = """
import contextlib, time
from boxpromptiml.runtime.signals import exits_on_sigterm
with exits_on_sigterm(), contextlib.ExitStack() as stack:
    stack.callback(print, "cleaned up", flush=True)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_it_cleans_up_and_ends_with_code_0():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.read() == "cleaned up\n"
    assert process.returncode == 0


def test_the_former_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), exits_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
