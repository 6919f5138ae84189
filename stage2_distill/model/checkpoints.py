"""Which checkpoint `fit` goes on from, and which `validate` and `test` score; and whether it fits the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from boxpromptiml.core.records import InputError
from stage2_distill.model.student import Student, read_checkpoint

LAST = "last"


def to_score(trainer: L.Trainer, module: L.LightningModule, named: str | None) -> Path:
    """The checkpoint that `validate` and `test` score.

    Args:
        trainer: whose checkpoint callbacks say where ``last`` is.
        module: that it is loaded into.
        named: by ``--ckpt_path``; None where nothing was. A student that comes with the package would be taken here.

    Raises:
        InputError: none is named, or it is not there.
        WeightsError: it cannot be read, or its student is another than the config's.
    """
    if named is None:
        raise InputError(
            "no checkpoint is named, and random weights are not scored; name one with --ckpt_path, such as "
            f"--ckpt_path {Path(trainer.default_root_dir) / 'fit/checkpoints/best.ckpt'}"
        )
    path = newest_last(trainer) if named == LAST else Path(named)
    if path is None:
        raise InputError(f"{trainer.default_root_dir}: no last.ckpt there yet; name a checkpoint with --ckpt_path")
    require_fit(module, path, read_checkpoint(path), "score it with the config that it was trained with")
    return path


def to_resume(trainer: L.Trainer, module: L.LightningModule, named: str | None) -> Path | None:
    """The checkpoint that `fit` goes on from; None for a new run.

    Args:
        trainer: that goes on.
        module: that it is loaded into.
        named: by ``--ckpt_path``; ``last`` for the newest of the run's folder.

    Raises:
        InputError: there is none, or it is of a run that is further than this one shall go.
        WeightsError: it cannot be read, or its student is another than the config's.
    """
    if named is None:
        return None
    path = newest_last(trainer) if named == LAST else Path(named)
    if path is None:
        raise InputError(
            f"{trainer.default_root_dir}: no last.ckpt there to go on from; leave --ckpt_path out to begin a run"
        )
    checkpoint = read_checkpoint(path)
    require_fit(module, path, checkpoint, "leave --ckpt_path out and train this one")
    done, wanted = checkpoint.get("epoch", -1) + 1, trainer.max_epochs
    if wanted is not None and 0 <= wanted < done:
        raise InputError(
            f"{path}: has {done} epochs behind it and trainer.max_epochs is {wanted}; name {done} or more to go on, or "
            "leave --ckpt_path out to begin another run in a folder of its own"
        )
    return path


def folders(trainer: L.Trainer) -> list[Path]:
    """Where a trainer keeps checkpoints, as far as its config says so."""
    return [
        Path(callback.dirpath)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.dirpath
    ]


def newest_last(trainer: L.Trainer) -> Path | None:
    """The newest ``last.ckpt``, if there is one."""
    found = [path for folder in folders(trainer) for path in folder.glob(f"{LAST}*.ckpt") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def require_fit(module: L.LightningModule, path: Path, checkpoint: dict[str, Any], otherwise: str) -> None:
    """Refuse a checkpoint of another student before Lightning does, by what differs in the config.

    Args:
        module: with the config's student.
        path: of the checkpoint.
        checkpoint: its content.
        otherwise: what else can be done, in words.

    Raises:
        InputError: its student is another one.
    """
    weights = checkpoint.get("state_dict")
    if not isinstance(weights, dict) or not isinstance(checkpoint.get("student"), dict):
        raise InputError(f"{path}: holds no student; name a checkpoint that `boxpromptiml fit` wrote")
    own = module.state_dict()
    if {name: value.shape for name, value in weights.items()} == {name: value.shape for name, value in own.items()}:
        return
    student = module.student
    assert isinstance(student, Student)
    stated, arguments = checkpoint["student"], student.arguments
    different = [name for name in arguments if stated.get(name) != arguments[name]]
    words = ", ".join(f"{name} {stated.get(name)}, not {arguments[name]}" for name in different)
    raise InputError(
        f"{path}: its student has {words or 'other weights than this version'}; state the same in model.student, or "
        f"{otherwise}"
    )
