"""Comparison of several ways to do the same work, as a Markdown table with the machine and versions."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from boxpromptiml.runtime.provenance import environment

RESULTS = Path(__file__).parent / "results"
QUICK = os.environ.get("BENCH") == "quick"
"""Use small sizes, to check that a benchmark runs without measuring anything."""
PAUSE = 0.05
"""Pause in seconds before each turn, until the threads of the previous one stop busy-waiting."""
T = TypeVar("T")


def seconds_each(
    ways: Mapping[str, Callable[[], Any]], repeats: int = 3, of: Callable[[list[float]], float] = median
) -> dict[str, float]:
    """Time each way in alternating turns, so that other load on the machine affects all of them equally.

    Args:
        ways: name → function.
        repeats: number of turns.
        of: aggregates the times of a way; ``min`` suits work that takes minutes, to which other programs only add time.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(1 if QUICK else repeats):
        names = list(ways)[:: 1 if turn % 2 == 0 else -1]
        for name in names:
            time.sleep(PAUSE)
            start = time.perf_counter()
            ways[name]()
            taken[name].append(time.perf_counter() - start)
    return {name: of(times) for name, times in taken.items()}


def seconds_and_peak(work: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Measure the run time in seconds and the increase of peak resident memory in MB, in a separate process."""
    return apart(_measured, work, arguments)


def apart(work: Callable[..., T], *arguments: Any) -> T:
    """Run a function in a fresh process, which holds no memory of earlier work, and return its result.

    Args:
        work: a module-level function, so that the process can import it.
        arguments: arguments of the function, picklable.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        return executor.submit(work, *arguments).result()


def write_table(
    subject: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    note: str,
    part: str = "",
    command: str = "",
) -> None:
    """Print a table and write it to ``results/<subject>-<cpu|gpu>.md``; quick runs write nothing.

    Args:
        subject: name of the benchmark.
        title: what was measured, in one line.
        columns: headings.
        rows: cells; numbers are shown with three digits.
        note: explanation of the numbers.
        part: name of this table, if a benchmark has several.
        command: what was run, if not ``make bench`` for this subject.
    """
    cells = [[_shown(cell) for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in [list(columns), ["---"] * len(columns), *cells]]
    versions = environment()
    machine = {"cpu": _processor(), "cores": versions.pop("cpus"), **versions}
    named = ", ".join(f"{name} {value}" for name, value in machine.items())
    run = f"Command: `{command or f'make bench ONLY={subject}'}`, {date.today().isoformat()}."
    text = "\n".join([f"# {title}", "", *lines, "", note, "", run, "", f"Machine and versions: {named}.", ""])
    print(text)
    if not QUICK:
        RESULTS.mkdir(exist_ok=True)
        kind = "cpu" if versions["accelerator"] == "none" else "gpu"
        (RESULTS / f"{'-'.join(filter(None, (subject, part, kind)))}.md").write_text(text, encoding="utf-8")


def _measured(work: Callable[..., Any], arguments: Sequence[Any]) -> tuple[float, float]:
    before = _peak()
    start = time.perf_counter()
    kept = work(*arguments)
    seconds, megabytes = time.perf_counter() - start, _peak() - before
    del kept
    return seconds, megabytes


def _peak() -> float:
    """Return this process's peak resident memory in MB; NaN on systems other than Linux."""
    status = Path("/proc/self/status")  # getrusage would include the parent's memory
    if not status.exists():
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def _shown(cell: Any) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def _processor() -> str:
    try:
        known = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in known.splitlines() if line.startswith("Model name")), "?")
