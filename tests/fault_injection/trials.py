"""Commands in processes of their own, which can be killed, starved or lied to; and what is left of a cache."""

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

FORK = multiprocessing.get_context("fork")  # starts in milliseconds with everything imported
ASKED = FORK.Value("q", 0)
"""Photos that any teacher was asked about so far."""


class Counted(GrabCut):
    """GrabCut on small photos that counts them."""

    def __init__(self) -> None:
        super().__init__(longest_side=32, iterations=1, threads=1)

    def embed(self, photos: list) -> list:
        """The photos themselves."""
        with ASKED.get_lock():
            ASKED.value += len(photos)
        return super().embed(photos)


@dataclass
class Run:
    """A command at work, or its end."""

    process: ForkProcess
    log: Path

    @property
    def code(self) -> int:
        """Exit code, once it has ended; negative for a signal."""
        self.process.join()
        return self.process.exitcode or 0

    def kill(self) -> None:
        """At once, without a chance to clean up."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join()

    @property
    def words(self) -> str:
        """What the command said in the end, in one line."""
        self.process.join()
        lines = [line for line in self.log.read_text(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
        if any(line.startswith("Traceback") for line in lines):
            return f"TRACEBACK: {lines[-1]}"
        said = [line for line in lines if line.startswith("boxpromptiml ")]
        return (said or lines or ["(nothing)"])[-1]


@dataclass
class Cache:
    """The cache of a manifest, in a folder that has room for its log.

    Attributes:
        folder: of the trial.
        manifest: what the cache is made from.
        arguments: further ones of the command.
    """

    folder: Path
    manifest: Path
    arguments: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The cache itself."""
        return self.folder / "cache"

    def pseudomasks(self, *words: str, before: Callable[[], None] = lambda: None) -> Run:
        """Start stage one in a process that first does something to itself."""
        settings = ["--size", "32", "--shard_size", "12", "--batch_size", "3", "--workers", "0"]
        settings += ["--accelerator", "cpu", "--devices", "1", "--teacher", f"{Counted.__module__}.Counted"]
        return _start(
            ["pseudomasks", "--manifest", str(self.manifest), "--out", str(self.path), *settings, *words],
            self.manifest.parent / f"{self.folder.name}-{time.monotonic_ns()}.log",
            before,
        )

    def verify(self, *words: str) -> Run:
        """Start the command that checks the cache, against its manifest."""
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
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (the parent's is captured in tests)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.argv = ["boxpromptiml", *words]
    os.environ["TQDM_DISABLE"] = "1"
    cv2.setNumThreads(0)
    before()
    sys.exit(cli.main(words))


@dataclass(frozen=True)
class Content:
    """What a cache holds, for comparison."""

    samples: dict[int, Sample]
    set_aside: set[SetAside]


def content(cache: Path) -> Content:
    """Read all of a cache; nothing when it cannot be read."""
    try:
        reader = ShardReader(cache)
        samples = [reader[i] for i in range(len(reader))]
    except CacheError as error:
        print(error)
        return Content({}, set())
    unique = {sample.image_id: sample for sample in samples}
    return Content(unique if len(unique) == len(samples) else {}, set(reader.index.set_aside))


def losses(found: Content, wanted: Content) -> int:
    """How many samples, and images skipped, are missing, different or too much."""
    ids = found.samples.keys() & wanted.samples.keys()
    different = sum(not _same(found.samples[i], wanted.samples[i]) for i in ids)
    return different + len(found.samples.keys() ^ wanted.samples.keys()) + len(found.set_aside ^ wanted.set_aside)


def _same(a: Sample, b: Sample) -> bool:
    return all(np.array_equal(getattr(a, each.name), getattr(b, each.name)) for each in fields(Sample))
