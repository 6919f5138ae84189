import os
import subprocess
import sys
import threading

import pytest

from boxpromptiml.runtime.processes import processes

KILLED = """
from boxpromptiml.runtime.processes import processes
with processes(2) as parallel_map:
    list(parallel_map(abs, range(40), "numbers"))
    print("working", flush=True)
    list(parallel_map(__import__("time").sleep, [60] * 40, "naps"))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers, capsys):
    with processes(workers) as parallel_map:
        assert list(parallel_map(abs, range(-50, 0), "numbers")) == list(range(50, 0, -1))
    assert "50/50" in (bar := capsys.readouterr().err)
    assert "numbers/s" in bar


def test_an_error_in_a_worker_reaches_the_caller_unchanged():
    with processes(2) as parallel_map, pytest.raises(FileNotFoundError):
        list(parallel_map(os.stat, ["/no such file"], "files"))


def test_an_unused_pool_starts_no_process():
    before = threading.active_count()
    with processes(2):
        assert threading.active_count() == before


def test_workers_end_with_a_killed_parent():
    """Workers keep the parent's output open, so the output ends with the last worker."""
    parent = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout.readline() == b"working\n"
    parent.kill()
    parent.communicate(timeout=20)
