"""The command behind `make ablation`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from boxpromptiml.apps.ablation.plan import Options, Run, Study, commands, plan, shell_line
from boxpromptiml.apps.ablation.tables import answer, draw, markdown
from boxpromptiml.apps.ablation.training import input_words, make_inputs, replace_others, train_and_test
from boxpromptiml.apps.run_results import Ablation
from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.limits import Count, Seed, within_limits
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.locks import sole_use


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
    """Train and test the variants of some studies over several seeds; a table and a figure for each study.

    Every run is `boxpromptiml fit` and `boxpromptiml test` with the base config and a few options over it, in a process
    of its own. What is there is not made again: stopped, the same command goes on, and a run that several studies need
    is made once. Differences are from the study's reference, image by image; their 95 % interval is a
    bootstrap over images and over seeds. W&B has a group for each study.

    Args:
        base: config of every run.
        out: folder for everything: ablation.md with all tables, ablation.json, a figure for each study, and the runs.
        studies: name → what it compares.
        seeds: each variant is trained once with each.
        options: of `boxpromptiml fit`, for every run, such as {trainer.max_epochs: 4}.
        inputs: name → commands that make what the runs read, run once, in this order, before the first run;
            again when their text changes, but not when a file that they read does. A file of theirs that is there with
            other content wants `--overwrite true` in its command.
        only: names of studies to do; by default all.
        jobs: runs at a time on this machine. Each may itself use many processes: trainer.devices and num_nodes decide.
        dry_run: only print the commands, one run a line, to hand them out to other machines; run without it afterwards
            to make the tables.
        overwrite: replace runs in the folder that were made with other settings or inputs.

    Returns:
        0, or 3 when a run failed, as the tables then say, or when its test set photos aside.

    Raises:
        InputError: a study is not sound, an input could not be made, another run works in the folder, or runs there are
            of other settings.
    """
    if unknown := [name for name in only or () if name not in studies]:
        raise InputError(f"there is no study {', '.join(unknown)}; the config has {', '.join(studies)}")
    if not seeds:
        raise InputError("an ablation needs a seed; name some, such as --seeds '[0, 1, 2]'")
    chosen = {name: study for name, study in studies.items() if not only or name in only}
    made = provenance.content_hash({"inputs": inputs or {}})
    runs = plan(chosen, seeds, base, options or {}, made, out / "runs")
    once = list({run.folder: run for run in runs.values()}.values())
    if dry_run:
        lines = [shell_line(input_words(line)) for commands_of in (inputs or {}).values() for line in commands_of]
        lines += [" && ".join(shell_line(words) for words in commands(run)) for run in once]
        print("\n".join(lines))
        return 0
    with sole_use(out):
        replace_others(once, overwrite)
        make_inputs(inputs or {}, out / "inputs")
        failures = train_and_test(once, jobs)
        _write(out, chosen, seeds, runs)
    for line in failures:
        print(line)
    return 3 if failures else 0


def _write(out: Path, studies: Mapping[str, Study], seeds: list[int], runs: Mapping[tuple[str, str, int], Run]) -> None:
    answers = {}
    for name, study in studies.items():
        scores = {label: [runs[name, label, seed].scores for seed in seeds] for label in study.variants}
        answers[name] = answer(study, scores)
        if answers[name].rows:
            draw(answers[name], out / f"{name}.png")
    content = Ablation(answers, seeds, provenance.command_line(), {**provenance.environment()})
    page = markdown(studies, content)
    write_whole(out / "ablation.md", page.encode())
    provenance.write_json(out / "ablation.json", msgspec.to_builtins(content))
    print(page)
    print(f"tables and figures: {out / 'ablation.md'}")
