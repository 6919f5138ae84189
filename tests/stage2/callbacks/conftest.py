"""Offline runs of W&B, read back."""

import json
import subprocess
import sys

import pytest


class OfflineRun:
    """Content of an offline run, read with `wandb leet inspect`, which needs no network.

    Attributes:
        folder: Folder of the run.
        run: ``run_id``, ``run_group``, ``display_name``, ``job_type``, ``tags``, ``notes``.
        config: Configuration, key → value.
        history: One mapping per logging call.
        artifacts: Logged artifacts, with ``metadata`` as JSON.
    """

    def __init__(self, folder):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
        records = [json.loads(line) for line in lines.splitlines()]
        of = {kind: [r[kind] for r in records if r["type"] == kind] for kind in {r["type"] for r in records}}
        assert "exit" in of  # the record is complete
        self.folder = folder
        self.run = of["run"][-1]
        self.config = {}
        for update in [*(run.get("config", {}) for run in of["run"]), *of.get("config", [])]:
            self.config |= update.get("update", {})
        self.history = [step["item"] for step in of.get("history", [])]
        self.artifacts = of.get("artifact", [])


@pytest.fixture(scope="session")
def offline_runs():
    """Function that reads the offline runs below a folder, oldest first."""
    return lambda folder: [OfflineRun(path) for path in sorted(folder.glob("wandb/offline-run-*"))]
