"""What a study compares, and the training runs that follow from it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.configs import chain, found
from boxpromptiml.runtime.provenance import file_sha256

Options = dict[str, Any]
"""Options of `boxpromptiml fit`, such as ``{"model.student.init_args.alpha": 0.3}``."""


@dataclass(frozen=True)
class Variant:
    """One row of a study.

    Args:
        options: of `boxpromptiml fit`, over those that all runs share, such as {data.image_size: 448}.
        overlay: a config that lies over the base config.
    """

    options: Options = field(default_factory=dict)
    overlay: Path | None = None


@dataclass(frozen=True)
class Study:
    """One question.

    Args:
        question: that the table answers.
        variants: name → what is different in it. Two studies may share a variant, which is then trained once.
        reference: the variant that the others are compared with.
        axis: what the variants' names measure where they are numbers, for a curve; otherwise the figure has a row for
            each variant.
        sets: test sets of the table; by default all that were scored.
        pools: name → test sets whose images are also taken together, in a row of that name; every image counts the
            same.
    """

    question: str
    variants: dict[str, Variant]
    reference: str
    axis: str | None = None
    sets: list[str] = field(default_factory=list)
    pools: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One training run with its test.

    Attributes:
        folder: what it writes goes below.
        arguments: of ``fit`` and ``test`` alike.
        settings: what decides its result, JSON.
        study: the first that needs it.
        variant: its name there.
        seed: of data order, augmentation and initial weights.
        shared_by: names of all studies that need it.
    """

    folder: Path
    arguments: tuple[str, ...]
    settings: str
    study: str
    variant: str
    seed: int
    shared_by: tuple[str, ...]

    @property
    def fitted(self) -> Path:
        """What its training writes last."""
        return self.folder / "fit/fit.json"

    @property
    def scores(self) -> Path:
        """What its test writes last."""
        return self.folder / "test/scores.json"


def plan(
    studies: Mapping[str, Study], seeds: Sequence[int], base: Path, options: Options, made: str, out: Path
) -> dict[tuple[str, str, int], Run]:
    """The run behind every study, variant and seed; the same run where the same is asked for.

    Args:
        studies: by name.
        seeds: each variant is trained once with each.
        base: config of every run.
        options: of every run.
        made: what the runs' inputs were made with.
        out: folder of the runs.

    Raises:
        InputError: a study names a reference that it has not, a number axis has a variant that is no number, or an
            overlay cannot be read.
    """
    wanted = list(_wanted(studies))
    users: dict[str, list[str]] = {}
    for name, _, variant in wanted:
        users.setdefault(_key(variant), []).append(name)
    runs: dict[tuple[str, str, int], Run] = {}
    first: dict[tuple[str, int], Run] = {}
    for name, label, variant in wanted:
        for seed in seeds:
            key = _key(variant)
            if (key, seed) not in first:
                folder = out / name / _file_name(label) / f"seed-{seed}"
                arguments = _arguments(base, variant, options, folder, seed)
                settings = _settings(base, variant, arguments, made)
                shared = tuple(dict.fromkeys(users[key]))
                first[key, seed] = Run(folder, arguments, settings, name, label, seed, shared)
            runs[name, label, seed] = first[key, seed]
    return runs


def commands(run: Run) -> list[list[str]]:
    """Words of what is left to do for a run, ``fit`` and ``test`` or only that, without the program's name."""
    checkpoints = run.folder / "fit/checkpoints"
    # The loggers belong to training: a test that used them too would write over its curves.
    test = ["test", *run.arguments, "--trainer.logger", "false", "--ckpt_path", str(checkpoints / "best.ckpt")]
    if run.fitted.exists():
        return [test]
    begun = ["--ckpt_path", "last"] if (checkpoints / "last.ckpt").exists() else []
    return [["fit", *run.arguments, *begun], test]


def shell_line(words: Sequence[str]) -> str:
    """A command that a shell would run, beginning with the program's name."""
    return shlex.join(["boxpromptiml", *words])


def _wanted(studies: Mapping[str, Study]) -> Iterator[tuple[str, str, Variant]]:
    for name, study in studies.items():
        if study.reference not in study.variants:
            raise InputError(
                f"study {name}: there is no variant {study.reference!r} to compare with; set reference to one of "
                f"{', '.join(study.variants)}"
            )
        for label, variant in study.variants.items():
            if study.axis and not _is_number(label):
                raise InputError(
                    f"study {name}: {label!r} is no number to put on the axis {study.axis!r}; leave axis out"
                )
            yield name, label, variant


def _arguments(base: Path, variant: Variant, options: Options, folder: Path, seed: int) -> tuple[str, ...]:
    configs = [base, *([variant.overlay] if variant.overlay else [])]
    merged = options | variant.options
    words = [word for config in configs for word in ("--config", str(config))]
    words += ["--trainer.default_root_dir", str(folder), "--seed_everything", str(seed)]
    return tuple(words + [word for option, value in merged.items() for word in (f"--{option}", _written(value))])


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """jsonargparse hands on a mapping with a ``class_path`` as a namespace."""
    return value.as_dict()


def _settings(base: Path, variant: Variant, arguments: Sequence[str], made: str) -> str:
    files = [found(file) for file in (base, variant.overlay) if file]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: no such config; `boxpromptiml configs` lists those that come with the package")
    return json.dumps([*arguments, *(file_sha256(part) for file in files for part in chain(file)), made])


def _key(variant: Variant) -> str:
    return json.dumps([variant.options, str(variant.overlay)], sort_keys=True, default=_plain)


def _file_name(label: str) -> str:
    return re.sub(r"[^\w.]+", "-", label).strip("-.") or "variant"


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
