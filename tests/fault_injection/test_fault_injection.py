"""The quick form of ``make faults``: one or two faults of each kind, none of which may lose work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("campaign.py")


@pytest.mark.timeout(280)
def test_no_fault_loses_work():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, str(CAMPAIGN), "--quick", "--seed", "1"], capture_output=True, text=True, env=environment
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "| all | " in answer.stdout
    assert "lost 0" in answer.stdout
