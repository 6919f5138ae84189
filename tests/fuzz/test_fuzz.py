"""A short fuzzing campaign against every reader of untrusted files; `make fuzz` runs the long one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the service is the extra `serve`: pip install 'boxpromptiml[serve]'")
CAMPAIGN = Path(__file__).with_name("fuzz.py")


@pytest.mark.skipif(sys.platform != "linux", reason="limits on memory and time are Linux's")
def test_damaged_files_are_read_or_refused_in_one_line():
    command = [sys.executable, str(CAMPAIGN), "--seconds", "10", "--seed", "1"]
    answer = subprocess.run(
        command, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    rows = re.findall(r"^\| (\w+) \| ([\d,]+) \|", answer.stdout, re.MULTILINE)
    assert {name for name, _ in rows} == {"images", "manifests", "annotations", "shards", "requests"}
    assert all(int(runs.replace(",", "")) > 0 for _, runs in rows)
