"""Run commands in separate processes that can be killed or starved, and compare what is left of a cache."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from multiprocessing.context import ForkProcess
from pathlib import Path

import cv2
import numpy as np

from boxpromptiml import cli
from boxpromptiml.core.records import Sample, SetAside
from boxpromptiml.shards import CacheError, ShardReader
from stage1_pseudomask.teachers.grabcut import GrabCut

FORK = multiprocessing.get_context("fork")  # starts in milliseconds because everything is imported already
ASKED = FORK.Value("q", 0)
"""Number of photos passed to any teacher so far, over all processes."""


class Counted(GrabCut):
    """GrabCut on small photos that counts the photos it embeds."""

    def __init__(self) -> None:
        super().__init__(longest_side=32, iterations=1, threads=1)

    def embed(self, photos: list) -> list:
        """Return the photos unchanged, and count them."""
        with ASKED.get_lock():
            ASKED.value += len(photos)
        return super().embed(photos)


@dataclass
class Run:
    """A running or finished command."""

    process: ForkProcess
    log: Path

    @property
    def code(self) -> int:
        """Exit code, once it has ended; negative for a signal."""
        self.process.join()
        return self.process.exitcode or 0

    def kill(self) -> None:
        """Send SIGKILL, which leaves no chance to clean up."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join()

    @property
    def words(self) -> str:
        """Last output of the command, in one line."""
        self.process.join()
        lines = [line for line in self.log.read_text(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
        if any(line.startswith("Traceback") for line in lines):
            return f"TRACEBACK: {lines[-1]}"
        said = [line for line in lines if line.startswith("boxpromptiml ")]
        return (said or lines or ["(nothing)"])[-1]


@dataclass
class Cache:
    """The cache made from a manifest, in a folder that also holds its log.

    Attributes:
        folder: Folder of the trial.
        manifest: Manifest from which the cache is made.
        arguments: Further arguments of the command.
    """

    folder: Path
    manifest: Path
    arguments: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Folder of the cache."""
        return self.folder / "cache"

    def pseudomasks(self, *words: str, before: Callable[[], None] = lambda: None) -> Run:
        """Start stage one in a process that first calls a setup function, such as a memory limit."""
        settings = ["--size", "32", "--shard_size", "12", "--batch_size", "3", "--workers", "0"]
        settings += ["--accelerator", "cpu", "--devices", "1", "--teacher", f"{Counted.__module__}.Counted"]
        return _start(
            ["pseudomasks", "--manifest", str(self.manifest), "--out", str(self.path), *settings, *words],
            self.manifest.parent / f"{self.folder.name}-{time.monotonic_ns()}.log",
            before,
        )

    def verify(self, *words: str) -> Run:
        """Start ``cache verify`` on the cache and its manifest."""
        words = ("--cache", str(self.path), "--manifest", str(self.manifest), "--workers", "1", *words)
        return _start(["cache", "verify", *words], self.manifest.parent / f"{time.monotonic_ns()}.log", lambda: None)


def _start(words: list[str], log: Path, before: Callable[[], None]) -> Run:
    process = FORK.Process(target=_command, args=(words, log, before))
    process.start()
    return Run(process, log)


def _command(words: list[str], log: Path, before: Callable[[], None]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (pytest captures the parent's)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.argv = ["boxpromptiml", *words]
    os.environ["TQDM_DISABLE"] = "1"
    cv2.setNumThreads(0)
    before()
    sys.exit(cli.main(words))


@dataclass(frozen=True)
class Content:
    """Content of a cache, for comparison."""

    samples: dict[int, Sample]
    set_aside: set[SetAside]


def content(cache: Path) -> Content:
    """Read a whole cache; print the error and return no samples if it cannot be read."""
    try:
        reader = ShardReader(cache)
        samples = [reader[i] for i in range(len(reader))]
    except CacheError as error:
        print(error)
        return Content({}, set())
    unique = {sample.image_id: sample for sample in samples}
    return Content(unique if len(unique) == len(samples) else {}, set(reader.index.set_aside))


def losses(found: Content, wanted: Content) -> int:
    """Number of samples and skipped images that are missing, different or superfluous."""
    ids = found.samples.keys() & wanted.samples.keys()
    different = sum(not _same(found.samples[i], wanted.samples[i]) for i in ids)
    return different + len(found.samples.keys() ^ wanted.samples.keys()) + len(found.set_aside ^ wanted.set_aside)


def _same(a: Sample, b: Sample) -> bool:
    return all(np.array_equal(getattr(a, each.name), getattr(b, each.name)) for each in fields(Sample))
