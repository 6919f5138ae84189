"""Fuzz the readers of untrusted files: each must return a value or refuse the file in one line.

    python tests/fuzz/fuzz.py [--seconds N] [--only images,shards] [--seed N] [--out FILE.md]

Hypothesis mutates valid files: bytes are flipped, removed or doubled, numbers and words replaced by unusual ones. Where
Atheris is installed, it then searches for files that reach further lines of the readers (`guided.py`). Each kind of
reader works in its own process with limits on memory and on the time for one file; a process that crashes or hangs is
replaced, and the file it was reading is kept in the printed folder. The exit code is 1 if a reader crashed, hung, took
too much memory, or raised anything but an InputError with a one-line message.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mutations import CHANGE, changed
from readers import TARGETS, Target

from boxpromptiml.core.records import InputError

SECONDS = 10
"""Time limit for one file in seconds, generous enough for a busy machine."""
MEGABYTES = 600
"""Limit on the memory growth of one process in MB; images are limited to `PIXELS`."""
PIXELS = 4_000_000
BURST = 100
"""Number of files between two reports of a process."""
GUIDED = ("images", "manifests", "annotations", "shards")
"""Readers whose coverage Atheris can measure; requests are read in other threads."""
TIMED_OUT, OUT_OF_MEMORY = 70, 71
"""Exit codes of libFuzzer."""
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A folder in memory where there is one, for speed."""


@dataclass
class Count:
    """Statistics over the files read.

    Attributes:
        runs: Number of files read.
        values: Number of files that gave a value.
        reasons: Distinct messages of refused files, without numbers and names.
        failures: Each failure with its file.
        megabytes: Largest memory growth of a process.
    """

    runs: int = 0
    values: int = 0
    reasons: set[str] = field(default_factory=set)
    failures: list[tuple[str, bytes]] = field(default_factory=list)
    megabytes: float = 0.0
    crashes: int = 0
    hangs: int = 0

    def note(self, what: str, content: bytes) -> None:
        """Count the `outcome` of reading a file."""
        self.runs += 1
        self.values += what == ""
        if what.startswith("FAILED"):
            self.failures.append((what, content))
        elif what:
            plain = re.sub(f"{IN_MEMORY or tempfile.gettempdir()}/[^/]*/", "", what)
            self.reasons.add(re.sub(r"\d+|'[^']*'|b?\"[^\"]*\"", "#", plain)[:80])


def main() -> int:
    """Fuzz each target for its share of the time and print the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--only", default=",".join(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given_arguments = parser.parse_args()
    names = given_arguments.only.split(",")
    kept = Path(tempfile.mkdtemp(prefix="fuzz-", dir=IN_MEMORY))
    guided = [name for name in names if name in GUIDED and importlib.util.find_spec("atheris")]
    seconds = given_arguments.seconds / len(names + guided)
    counts = {name: fuzzed(name, seconds, given_arguments.seed, kept) for name in names}
    counts |= {f"{name}, guided": fuzzed_guided(name, seconds, given_arguments.seed, kept) for name in guided}
    failed = False
    for name, count in counts.items():
        for number, (what, content) in enumerate(count.failures):
            failed = True
            (kept / f"{name}-{number}").write_bytes(content)
            print(f"{name}: {what}\n  the file: {kept / f'{name}-{number}'}", file=sys.stderr)
    if not failed:
        kept.rmdir()
    table = _table(counts, given_arguments.seconds, given_arguments.seed)
    print(table)
    if given_arguments.out:
        given_arguments.out.write_text(table, encoding="utf-8")
    return 1 if failed else 0


def fuzzed(name: str, seconds: float, start: int, kept: Path) -> Count:
    """Fuzz one target in successive processes until the time is over."""
    context = get_context("fork")
    total = Count()
    current = kept / f"{name}.current"
    while seconds > 0:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(name, seconds, start, theirs, current))
        child.start()
        theirs.close()
        seconds -= max(1, _watch(child, ours, current, total))
        start += 1_000_000
    current.unlink(missing_ok=True)
    return total


def fuzzed_guided(name: str, seconds: float, start: int, kept: Path) -> Count:
    """Fuzz one target with `guided.py` until the time is over or a file ends it."""
    current, tally = kept / f"{name}.current", kept / f"{name}.tally"
    command = [
        sys.executable,
        Path(__file__).with_name("guided.py"),
        name,
        str(seconds),
        str(start + 1),
        current,
        tally,
    ]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    total = counted(tally.read_text()) if tally.exists() else Count()
    if ended.returncode:
        total.hangs += ended.returncode == TIMED_OUT
        total.crashes += ended.returncode not in (TIMED_OUT, OUT_OF_MEMORY)
        what = f"ended with exit code {ended.returncode}: {ended.stderr[-2000:]}"
        total.failures.append((what, current.read_bytes() if current.exists() else b""))
    current.unlink(missing_ok=True)
    tally.unlink(missing_ok=True)
    return total


def written(count: Count) -> str:
    """Serialize a count as JSON for another process."""
    failures = [(what, content.hex()) for what, content in count.failures[:20]]
    return json.dumps({**asdict(count), "reasons": sorted(count.reasons), "failures": failures})


def counted(text: str) -> Count:
    """Deserialize the output of `written`."""
    content = json.loads(text)
    failures = [(what, bytes.fromhex(data)) for what, data in content["failures"]]
    return Count(**content | {"reasons": set(content["reasons"]), "failures": failures})


def _watch(child: BaseProcess, reports: Connection, current: Path, total: Count) -> float:
    """Add up the reports of a process until it ends or hangs; return the seconds it spent reading."""
    begun = None
    while True:
        try:
            if reports.poll(0.2):
                _add(total, reports.recv())
                begun = begun or time.monotonic()
                continue
        except EOFError:
            break
        if current.exists() and time.time() - current.stat().st_mtime > SECONDS:
            child.kill()
            total.hangs += 1
            total.failures.append((f"hung for more than {SECONDS} s", current.read_bytes()))
            break
    child.join()
    if child.exitcode and not (total.failures and total.failures[-1][0].startswith("hung")):
        total.crashes += 1
        last = current.read_bytes() if current.exists() else b""  # none if it failed while starting
        total.failures.append((f"crashed with exit code {child.exitcode}", last))
    return time.monotonic() - (begun or time.monotonic())


def _work(name: str, seconds: float, start: int, reports: Connection, current: Path) -> None:
    warnings.simplefilter("ignore")
    os.environ["BOXPROMPTIML_MAX_PIXELS"] = str(PIXELS)
    with Path(os.devnull).open("w") as nothing:  # silence C codecs, which print warnings
        os.dup2(nothing.fileno(), 2)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder, TARGETS[name](Path(folder)) as target:
        for path in target.files:  # load everything before memory is measured
            for read in target.reads:
                outcome(read, Path(folder) / path)
        before = status("VmHWM")
        limit = int((status("VmSize") + 4 * MEGABYTES) * 1e6)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        reports.send(Count())
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            count = Count()
            _burst(target, Path(folder), start, count, deadline, current)
            count.megabytes = status("VmHWM") - before
            if count.megabytes > MEGABYTES:
                count.failures.append((f"took {count.megabytes:.0f} MB", current.read_bytes()))
            reports.send(count)
            start += 1


def _burst(target: Target, folder: Path, start: int, count: Count, deadline: float, current: Path) -> None:
    good = {path: (folder / path).read_bytes() for path in target.files}

    @seed(start)
    @settings(
        max_examples=BURST,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(target.files), st.sampled_from(target.reads), st.lists(CHANGE, min_size=1, max_size=4))
    def read_one(path: Path, read: Any, changes: list[tuple[str, float, Any]]) -> None:
        if time.monotonic() > deadline:
            return
        content = good[path]
        for change in changes:
            content = changed(content, *change)
        current.write_bytes(content)
        (folder / path).write_bytes(content)
        try:
            what = outcome(read, folder / path)
        finally:
            (folder / path).write_bytes(good[path])
        count.note(what, content)

    read_one()


def outcome(read: Any, path: Path) -> str:
    """Read one file: "" for a value, else the message of the refusal or a description of the failure."""
    try:
        read(path)
    except InputError as error:
        line = str(error)
        return line if line and len(line.splitlines()) == 1 and len(line) < 3000 else f"FAILED: no line: {line[:200]!r}"
    except Exception:
        return "FAILED: " + traceback.format_exc(limit=-4)
    return ""


def _add(total: Count, part: Count) -> None:
    total.runs += part.runs
    total.values += part.values
    total.reasons |= part.reasons
    total.failures += part.failures[: max(0, 20 - len(total.failures))]
    total.megabytes = max(total.megabytes, part.megabytes)


def status(name: str) -> float:
    """Memory figure of this process in MB, from ``/proc/self/status``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _table(counts: dict[str, Count], seconds: float, start: int) -> str:
    rows = [
        f"| {name} | {c.runs:,} | {c.values:,} | {c.runs - c.values:,} | {len(c.reasons)} "
        f"| {len(c.failures) - c.crashes - c.hangs} | {c.crashes} | {c.hangs} | {c.megabytes:.0f} |"
        for name, c in counts.items()
    ]
    return "\n".join(
        [
            "# Damaged files and requests",
            "",
            "| reader | runs | gave a value | refused | reasons | other errors | crashes | hangs | grew by, MB |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "Each run changes a good file, or a request to the service, in one to four places that Hypothesis draws, "
            "and reads it; guided ones come from Atheris, which looks for files that reach other lines. A value, or a "
            "refusal in one line, is right; anything else is an error. Reasons: refusals "
            f"that differ in more than numbers and names. Limits: {SECONDS} s for a file, {MEGABYTES} MB by which a "
            f"process may grow, with images of up to {PIXELS:,} pixels.",
            "",
            f"Command: `make fuzz`, {seconds:.0f} s in all, seed {start}.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
