"""Definition of a study, and the training runs that it requires."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse.typing import register_type

from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.configs import chain, found
from boxpromptiml.runtime.provenance import file_sha256


def _same(value: Any) -> Any:
    return value


if TYPE_CHECKING:
    Value = Any
else:

    class Value:
        """Any value of an option, for jsonargparse: in an `Any` it would create the object of a ``class_path``."""

    register_type(Value, serializer=_same, deserializer=_same, type_check=lambda *_: True)
Options = dict[str, Value]
"""Options of `boxpromptiml fit`, such as ``{"model.student.init_args.alpha": 0.3}``."""


@dataclass(frozen=True)
class Variant:
    """One row of a study.

    Args:
        options: options of `boxpromptiml fit` in addition to those of all runs, such as {data.image_size: 448}.
        overlay: config applied on top of the base config.
    """

    options: Options = field(default_factory=dict)
    overlay: Path | None = None


@dataclass(frozen=True)
class Study:
    """One question, answered by comparing variants.

    Args:
        question: the question that the table answers.
        variants: name → difference from the other runs. A variant shared by two studies is trained once.
        reference: variant that the others are compared with.
        axis: quantity on the x-axis if the variants' names are numbers; otherwise the figure has a row per variant.
        sets: test sets of the table; by default all that were scored.
        pools: name → test sets whose images are pooled in an additional row, with equal weight per image.
    """

    question: str
    variants: dict[str, Variant]
    reference: str
    axis: str | None = None
    sets: list[str] = field(default_factory=list)
    pools: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:  # names may be numbers in YAML, such as those on an axis
        object.__setattr__(self, "variants", {str(name): variant for name, variant in self.variants.items()})


@dataclass(frozen=True, slots=True)
class Run:
    """A training run with its test.

    Attributes:
        folder: output folder.
        arguments: command-line arguments of both ``fit`` and ``test``.
        settings: what determines its result, as JSON.
        study: first study that needs it.
        variant: its name in that study.
        seed: random seed for data order, augmentation and initial weights.
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
        """File that training writes last."""
        return self.folder / "fit/fit.json"

    @property
    def scores(self) -> Path:
        """File that testing writes last."""
        return self.folder / "test/scores.json"


def plan(
    studies: Mapping[str, Study], seeds: Sequence[int], base: Path, options: Options, made: str, out: Path
) -> dict[tuple[str, str, int], Run]:
    """Return the run of every study, variant and seed; identical runs are shared.

    Args:
        studies: name → study.
        seeds: each variant is trained once per seed.
        base: config of every run.
        options: options of `boxpromptiml fit` for every run.
        made: hash of the commands that create the runs' inputs.
        out: folder of the runs.

    Raises:
        InputError: a study's reference does not exist, a variant on a numeric axis is not a number, two variants would
            have the same folder, or an overlay cannot be read.
    """
    wanted = list(_wanted(studies))
    users: dict[str, list[str]] = {}
    for name, _, variant in wanted:
        users.setdefault(_key(variant), []).append(name)
    runs: dict[tuple[str, str, int], Run] = {}
    first: dict[tuple[str, int], Run] = {}
    owners: dict[str, tuple[str, str]] = {}
    for name, label, variant in wanted:
        for seed in seeds:
            key = _key(variant)
            if (key, seed) not in first:
                folder = out / name / _file_name(label) / f"seed-{seed}"
                owner = owners.setdefault(folder.as_posix().casefold(), (name, label))  # some file systems ignore case
                if owner != (name, label):
                    raise InputError(
                        f"study {name}: the variant {label!r} and {owner[1]!r} of study {owner[0]} would be written to "
                        f"the same folder {folder.parent}; rename one, with other letters or digits"
                    )
                arguments = _arguments(base, variant, options, folder, seed)
                settings = _settings(base, variant, arguments, made)
                shared = tuple(dict.fromkeys(users[key]))
                first[key, seed] = Run(folder, arguments, settings, name, label, seed, shared)
            runs[name, label, seed] = first[key, seed]
    return runs


def commands(run: Run) -> list[list[str]]:
    """Return the remaining commands of a run (``fit`` and ``test``, or ``test``), without the program's name."""
    checkpoints = run.folder / "fit/checkpoints"
    # Testing with the training's loggers would overwrite its curves.
    test = ["test", *run.arguments, "--trainer.logger", "false", "--ckpt_path", str(checkpoints / "best.ckpt")]
    if run.fitted.exists():
        return [test]
    begun = ["--ckpt_path", "last"] if (checkpoints / "last.ckpt").exists() else []
    return [["fit", *run.arguments, *begun], test]


def shell_line(words: Sequence[str]) -> str:
    """Format a command for a shell, including the program's name."""
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
                    f"study {name}: {label!r} is not a number, which the axis {study.axis!r} needs; use numbers "
                    "or remove axis"
                )
            yield name, label, variant


def _arguments(base: Path, variant: Variant, options: Options, folder: Path, seed: int) -> tuple[str, ...]:
    configs = [base, *([variant.overlay] if variant.overlay else [])]
    merged = options | variant.options
    words = [word for config in configs for word in ("--config", str(config))]
    words += ["--trainer.default_root_dir", str(folder), "--seed_everything", str(seed)]
    return tuple(words + [word for option, value in merged.items() for word in (f"--{option}", _written(value))])


def _written(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _settings(base: Path, variant: Variant, arguments: Sequence[str], made: str) -> str:
    files = [found(file) for file in (base, variant.overlay) if file]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: no such config; `boxpromptiml configs` lists the packaged ones")
    return json.dumps([*arguments, *(file_sha256(part) for file in files for part in chain(file)), made])


def _key(variant: Variant) -> str:
    return json.dumps([variant.options, str(variant.overlay)], sort_keys=True)


def _file_name(label: str) -> str:
    return re.sub(r"[^\w.]+", "-", label).strip("-.") or "variant"


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
