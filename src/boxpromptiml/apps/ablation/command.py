"""The command ``boxpromptiml ablation``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from boxpromptiml.apps.ablation.plan import Options, Run, Study, commands, plan, shell_line
from boxpromptiml.apps.ablation.tables import draw, markdown, study_rows
from boxpromptiml.apps.ablation.training import (
    input_words,
    is_complete,
    make_inputs,
    replace_others,
    train_and_test,
)
from boxpromptiml.apps.run_results import Ablation
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.limits import Count, Seed, within_limits
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.locks import exclusive_lock


@within_limits
def ablation(
    base: Path,
    out: Path,
    studies: dict[str, Study],
    seeds: list[Seed] = [0, 1, 2],  # noqa: B006 (read only; jsonargparse shows it)
    options: Options | None = None,
    inputs: dict[str, list[str]] | None = None,
    only: list[str] | None = None,
    jobs: Count = 1,
    dry_run: bool = False,
    overwrite: bool = False,
) -> int:
    """Train and test the variants of ablation studies over several seeds; write a table and a figure for each study.

    Every run consists of `boxpromptiml fit` and `boxpromptiml test` with the base config and a few overriding options,
    in its own process. Finished runs are not repeated: after an interruption the same command continues, and a run that
    several studies share is made only once. Differences are relative to the study's reference and paired by image;
    their 95 % intervals are bootstraps over images and seeds. W&B has a group for each study.

    Args:
        base: config of every run.
        out: output folder: ablation.md with all tables, ablation.json, a figure for each study, and the runs.
        studies: name → what is compared.
        seeds: each variant is trained once per seed.
        options: options of `boxpromptiml fit` for every run, such as {trainer.max_epochs: 4}.
        inputs: name → commands that create the inputs of the runs, executed once, in order, before the first run; again
            if their text changes, but not if a file that they read changes. To replace existing files with different
            content, include `--overwrite`.
        only: names of the studies to run; by default all. The tables also contain what exists of the others.
        jobs: number of parallel runs on this machine. Each may itself use several processes (trainer.devices,
            num_nodes).
        dry_run: only print the commands, one run per line, for execution on other machines; afterwards run without it
            to create the tables.
        overwrite: replace existing runs that were made with different settings or inputs.

    Returns:
        0, or 3 if a run failed, which the tables show, or if its test skipped photos.

    Raises:
        InputError: a study is invalid, an input could not be created, the folder is in use, or it has runs with
            different settings.
    """
    studies = {str(name): study for name, study in studies.items()}  # names may be numbers in YAML
    if unknown := [name for name in only or () if name not in studies]:
        raise InputError(f"there is no study {', '.join(unknown)}; the config has {', '.join(studies)}")
    if not seeds:
        raise InputError("an ablation needs at least one seed; add some, such as --seeds '[0, 1, 2]'")
    made = provenance.content_hash({"inputs": inputs or {}})
    runs = plan(studies, seeds, base, options or {}, made, out / "runs")
    once = list({run.folder: run for (study, *_), run in runs.items() if not only or study in only}.values())
    if dry_run:
        lines = [shell_line(input_words(line)) for commands_of in (inputs or {}).values() for line in commands_of]
        lines += [" && ".join(shell_line(words) for words in commands(run)) for run in once]
        print("\n".join(lines))
        return 0
    with exclusive_lock(out):
        replace_others(once, overwrite)
        make_inputs(inputs or {}, out / "inputs")
        failures = train_and_test(once, jobs)
        _write(out, studies, seeds, runs)
    for line in failures:
        print(line)
    return 3 if failures else 0


def _write(out: Path, studies: Mapping[str, Study], seeds: list[int], runs: Mapping[tuple[str, str, int], Run]) -> None:
    answers = {}
    for name, study in studies.items():
        made = {label: [runs[name, label, seed] for seed in seeds] for label in study.variants}
        scores = {label: [run.scores for run in of if is_complete(run)] for label, of in made.items()}
        answers[name] = study_rows(study, scores)
        if answers[name].rows:
            draw(answers[name], out / f"{name}.png")
    content = Ablation(answers, seeds, provenance.command_line(), {**provenance.environment()})
    page = markdown(studies, content)
    write_whole(out / "ablation.md", page.encode())
    provenance.write_json(out / "ablation.json", msgspec.to_builtins(content))
    print(page)
    print(f"tables and figures: {out / 'ablation.md'}")
