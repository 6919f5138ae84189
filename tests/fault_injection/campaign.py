"""Inject faults into stage one (kills, full disks, damaged files, bad images) and count lost work.

    python tests/fault_injection/campaign.py [--quick] [--seed N] [--out FILE.md]

Each trial disturbs a run or its output at a random point, removes the cause, repeats the same command, and compares the
cache with an undisturbed one, sample by sample. Every fault must be reported in one line. The exit code is 1 if a trial
lost or changed anything, or ended with a traceback.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from faults import FAULTS, Bench, NotHereError, Trial
from photos import POISONS, write_photos
from trials import ASKED, Cache, content

from stage1_pseudomask import engine, generate  # noqa: F401 (loaded before the forks)


def main() -> int:
    """Run the campaign, print every trial and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few trials of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    started, trials = time.monotonic(), defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        bench = _bench(Path(name))
        for fault_name, fault, often, quick in FAULTS:
            for number in range(quick if options.quick else often):
                try:
                    trial = fault(
                        bench, bench.cache(f"{fault.__name__}-{number}"), random.Random(f"{options.seed} {number}")
                    )
                except NotHereError as reason:
                    print(f"{fault_name}: skipped, {reason}", flush=True)
                    break
                trials[fault_name].append(trial)
                message = trial.message.replace(name, "…")
                print(f"{fault_name}, {number + 1}: lost {trial.lost}, again {trial.again}: {message}", flush=True)
    failed = sum(trial.lost > 0 or trial.message.startswith("TRACEBACK") for each in trials.values() for trial in each)
    table = _table(trials, time.monotonic() - started, options.seed)
    print(f"\n{table}")
    if options.out:
        options.out.write_text(table, encoding="utf-8")
    return 1 if failed else 0


def _bench(folder: Path) -> Bench:
    records = write_photos(folder / "photos", 72, seed=0)
    for record, name in zip(records[5::20], ("zero bytes", "cut off", "missing"), strict=False):
        spoiled = POISONS[name].spoil(record.path.read_bytes())
        record.path.unlink()
        if spoiled is not None:
            record.path.write_bytes(spoiled)
    manifest = folder / "photos/manifest.json"
    (folder / "undisturbed").mkdir()
    cache = Cache(folder / "undisturbed", manifest)
    started = time.monotonic()
    run = cache.pseudomasks()
    assert run.code == 3, run.words
    return Bench(folder, manifest, content(cache.path), time.monotonic() - started, ASKED.value)


def _table(trials: dict[str, list[Trial]], seconds: float, seed: int) -> str:
    rows = [
        f"| {name} | {len(each)} | {sum(trial.lost > 0 for trial in each)} | {sum(trial.lost for trial in each)} "
        f"| {sum(trial.message.startswith('TRACEBACK') for trial in each)} | {max(trial.again for trial in each)} |"
        for name, each in trials.items()
    ]
    every = [trial for each in trials.values() for trial in each]
    return "\n".join(
        [
            "# Stage one under injected faults",
            "",
            "| disturbance | trials | with losses | samples lost or changed | unexplained | asked again, at most |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            f"| all | {len(every)} | {sum(trial.lost > 0 for trial in every)} | {sum(trial.lost for trial in every)} "
            f"| {sum(trial.message.startswith('TRACEBACK') for trial in every)} | |",
            "",
            "Every trial disturbs a run over 72 photos with GrabCut (shards of 12, batches of 3), or its cache; then "
            "the cause is removed, the same command runs again, and the cache is compared with an undisturbed one, "
            "sample for sample. Asked again: photos for which the teacher had to work twice in one trial.",
            "",
            f"Command: `make faults`, seed {seed}, {seconds:.0f} s.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
