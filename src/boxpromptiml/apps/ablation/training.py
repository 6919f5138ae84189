"""Execution of a study's runs, several in parallel, each in its own process."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from boxpromptiml.apps.ablation.plan import Run, commands
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.processes import command_words
from boxpromptiml.runtime.run_folder import REPLACE, found, replace

SET_ASIDE = 3
"""Exit code of a command that succeeded except for skipped inputs, which it listed."""
RESULTS = ("test/scores.*", "fit/fit.json", "fit/checkpoints/*.ckpt")


def make_inputs(inputs: dict[str, list[str]], folder: Path) -> None:
    """Run the commands that create the runs' inputs, each set of commands once.

    Args:
        inputs: name → commands of this program, with or without its name.
        folder: where the executed commands are recorded.

    Raises:
        InputError: a command failed, after printing its own message.
    """
    for name, lines in inputs.items():
        record = folder / f"{name}.json"
        if record.exists() and json.loads(record.read_text(encoding="utf-8")) == lines:
            continue
        for line in lines:
            print(f"{name}: {line}")
            code = subprocess.run(command_words(input_words(line)), check=False).returncode
            if code not in (0, SET_ASIDE):
                raise InputError(
                    f"input {name}: `{line}` exited with {code}; fix the cause, then run the same command again"
                )
        provenance.write_json(record, lines)


def input_words(line: str) -> list[str]:
    """Split an input's command into words, without the program's name.

    Raises:
        InputError: there is no command, or a quotation mark is not closed.
    """
    try:
        words = shlex.split(line.replace("\\", "\\\\") if os.name == "nt" else line)  # backslashes of Windows' paths
    except ValueError as error:
        raise InputError(f"input `{line}`: {str(error).lower()}; close it") from None
    if words[:1] == ["boxpromptiml"]:
        words = words[1:]
    if not words:
        raise InputError(f"input `{line}` is not a command; add one, such as `synthesize --out data/mine`")
    return words


def train_and_test(runs: Sequence[Run], jobs: int) -> list[str]:
    """Train and test what is missing, with ``jobs`` runs in parallel.

    An interrupted run continues from its last checkpoint. The output of a run goes to ``log.txt`` in its folder.

    Returns:
        A message for each run that failed, or whose test skipped photos.
    """
    left = [run for run in runs if not is_complete(run)]
    started: list[subprocess.Popen[bytes]] = []
    stopped = threading.Event()
    environment = _environment(jobs)

    def make(run: Run) -> str | None:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_whole(_settings_file(run), run.settings.encode())
        with (run.folder / "log.txt").open("ab") as log:
            for words in commands(run):
                if stopped.is_set():
                    return None
                of_run = environment | _for_wandb(run)
                process = subprocess.Popen(command_words(words), stdout=log, stderr=subprocess.STDOUT, env=of_run)
                started.append(process)
                if (code := process.wait()) == SET_ASIDE:
                    return f"{run.folder}: `{words[0]}` skipped photos; {log.name} lists them"
                if code:
                    return f"{run.folder}: `{words[0]}` exited with {code}; see {log.name}"
        return None

    with (
        ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(runs), initial=len(runs) - len(left), unit="run", desc="train and test") as bar,
    ):
        failures = []
        try:
            for done in as_completed([pool.submit(make, run) for run in left]):
                failures += [line] if (line := done.result()) else []
                bar.update()
        except BaseException:  # Ctrl-C: terminated runs save a checkpoint from which they can continue
            stopped.set()
            for process in started:
                process.terminate()
            raise
    return failures


def replace_others(runs: Sequence[Run], overwrite: bool) -> None:
    """Reject existing runs with different settings, or delete their results so that training starts anew.

    Raises:
        InputError: there are such runs, and ``overwrite`` is False.
    """
    there = [path for run in runs if _is_other(run) for path in found(run.folder, RESULTS)]
    if there:
        others = sum(_is_other(run) for run in runs)
        which = "a run that was" if others == 1 else f"{others} runs that were"
        first = next(run.folder for run in runs if _is_other(run))
        replace(f"{first}: {which} made with other settings or inputs; {REPLACE}", there, overwrite)


def is_complete(run: Run) -> bool:
    """Return whether a run has scores that were made with its present settings."""
    return run.scores.exists() and not _is_other(run)


def _is_other(run: Run) -> bool:
    """Return whether a run's results have different settings; those without any may be from a dry run's command."""
    try:
        return _settings_file(run).read_text(encoding="utf-8") != run.settings
    except FileNotFoundError:
        return bool(found(run.folder, RESULTS)) and not _made_by_hand(run)


def _made_by_hand(run: Run) -> bool:
    """Return whether a run was made by a command that a dry run printed, possibly on another machine."""
    try:
        command = json.loads(run.fitted.read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return command.partition(" ")[2].startswith(" ".join(["fit", *run.arguments]))


def _settings_file(run: Run) -> Path:
    return run.folder / "settings.json"


def _environment(jobs: int) -> dict[str, str]:
    """Divide the CPU cores among parallel runs."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return {"OMP_NUM_THREADS": str(threads), **os.environ} if jobs > 1 else dict(os.environ)


def _for_wandb(run: Run) -> dict[str, str]:
    return {
        "WANDB_RUN_GROUP": run.study,
        "WANDB_NAME": f"{run.variant}, seed {run.seed}",
        "WANDB_TAGS": ",".join(("ablation", *run.shared_by)),
    }
