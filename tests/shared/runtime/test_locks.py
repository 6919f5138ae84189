"""Processes of one run share a folder; two runs never do."""

import os
import signal
import subprocess
import sys
import time

import pytest

from boxpromptiml.runtime.locks import LockedError, exclusive_lock, process_lock

SCRIPT = """
import sys, time
from pathlib import Path
from boxpromptiml.runtime.locks import process_lock, exclusive_lock

process = int(sys.argv[2])
with process_lock(Path(sys.argv[1]), process) if process else exclusive_lock(Path(sys.argv[1])):
    print("there", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock_in_other_process(tmp_path):
    """Function that locks a folder in another process until that is killed; ``process`` is its rank in the run."""
    started = []

    def lock_in_other_process(folder, process=0):
        command = [sys.executable, "-c", SCRIPT, str(folder), str(process)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "there\n"
        return started[-1]

    yield lock_in_other_process
    for process in started:
        process.kill()
        process.communicate()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_second_run_is_refused_until_the_first_ends(tmp_path, lock_in_other_process):
    first = lock_in_other_process(tmp_path)
    with pytest.raises(LockedError, match=rf"{tmp_path}: in use by process {first.pid} on ") as caught:
        exclusive_lock(tmp_path).__enter__()
    assert "\n" not in str(caught.value)
    kill(first)
    with exclusive_lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_an_orphan_of_a_killed_run_keeps_the_folder(tmp_path, lock_in_other_process):
    first, other = lock_in_other_process(tmp_path), lock_in_other_process(tmp_path, 1)
    kill(first)
    with pytest.raises(LockedError, match=rf"process {other.pid} on"):
        exclusive_lock(tmp_path).__enter__()
    kill(other)
    with exclusive_lock(tmp_path):
        pass


def test_processes_of_one_run_have_a_lock_line_each(tmp_path, lock_in_other_process):
    with exclusive_lock(tmp_path):
        other = lock_in_other_process(tmp_path, 1)
        second = lock_in_other_process(tmp_path, 2)
        with pytest.raises(LockedError, match="in use by"):
            process_lock(tmp_path, 2).__enter__()
        lines = (tmp_path / ".lock").read_text().splitlines()
    assert [line.split()[1] for line in lines] == [str(pid) for pid in (os.getpid(), other.pid, second.pid)]


def test_the_death_of_another_process_of_the_run_is_noticed(tmp_path, lock_in_other_process):
    with exclusive_lock(tmp_path) as gone:
        assert gone() is None
        other, second = lock_in_other_process(tmp_path, 1), lock_in_other_process(tmp_path, 2)
        assert gone() is None
        kill(other)
        assert f"process {other.pid} on" in gone()
        kill(second)
        with process_lock(tmp_path / "elsewhere", 1):
            assert gone() is not None


def test_modification_times_do_not_matter(tmp_path, lock_in_other_process):
    first = lock_in_other_process(tmp_path)
    os.utime(tmp_path / ".lock", (0, 0))
    with pytest.raises(LockedError):
        exclusive_lock(tmp_path).__enter__()
    kill(first)
    os.utime(tmp_path / ".lock", (time.time() + 10**8,) * 2)
    with exclusive_lock(tmp_path):
        pass


def test_a_failing_run_releases_the_folder(tmp_path):
    with pytest.raises(RuntimeError), exclusive_lock(tmp_path):
        raise RuntimeError
    with exclusive_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_created_is_left_to_the_writer_to_report(tmp_path):
    (tmp_path / "file").touch()
    with exclusive_lock(tmp_path / "file" / "cache"):
        pass
