"""Selection of the checkpoint to resume or to score, and a check that it matches the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from boxpromptiml.core.records import InputError
from stage2_distill.model.student import Student, read_checkpoint

LAST = "last"


def to_score(trainer: L.Trainer, module: L.LightningModule, named: str | None) -> Path:
    """Return the checkpoint that `validate` and `test` score.

    Args:
        trainer: its checkpoint callbacks locate ``last``.
        module: module that the checkpoint is loaded into.
        named: value of ``--ckpt_path``, None if not given. The released student is not accepted here.

    Raises:
        InputError: none is named, or it does not exist.
        WeightsError: it cannot be read, or its student differs from the config's.
    """
    if named is None:
        raise InputError(
            "no checkpoint is given, and random weights are not scored; pass one with --ckpt_path, such as "
            f"--ckpt_path {Path(trainer.default_root_dir) / 'fit/checkpoints/best.ckpt'}"
        )
    path = newest_last(trainer) if named == LAST else Path(named)
    if path is None:
        raise InputError(f"{trainer.default_root_dir}: no last.ckpt there yet; pass a checkpoint with --ckpt_path")
    require_same_student(module, path, read_checkpoint(path), "score it with the config that it was trained with")
    return path


def to_resume(trainer: L.Trainer, module: L.LightningModule, named: str | None) -> Path | None:
    """Return the checkpoint from which `fit` resumes; None for a new run.

    Args:
        trainer: the run's trainer; its checkpoint callbacks locate ``last``.
        module: module that the checkpoint is loaded into.
        named: value of ``--ckpt_path``; ``last`` for the newest in the run's folder.

    Raises:
        InputError: it does not exist, or was trained for more epochs than ``trainer.max_epochs``.
        WeightsError: it cannot be read, or its student differs from the config's.
    """
    if named is None:
        return None
    path = newest_last(trainer) if named == LAST else Path(named)
    if path is None:
        raise InputError(f"{trainer.default_root_dir}: no last.ckpt to continue from; omit --ckpt_path to start a run")
    checkpoint = read_checkpoint(path)
    require_same_student(module, path, checkpoint, "omit --ckpt_path to train this one")
    done, wanted = checkpoint.get("epoch", -1) + 1, trainer.max_epochs
    if wanted is not None and 0 <= wanted < done:
        raise InputError(
            f"{path}: was trained for {done} epochs, but trainer.max_epochs is {wanted}; set {done} or more to "
            "continue, or omit --ckpt_path to start another run in a separate folder"
        )
    return path


def folders(trainer: L.Trainer) -> list[Path]:
    """Return the checkpoint folders that are set in the trainer's config."""
    return [
        Path(callback.dirpath)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.dirpath
    ]


def newest_last(trainer: L.Trainer) -> Path | None:
    """Return the newest ``last.ckpt``, if any."""
    found = [path for folder in folders(trainer) for path in folder.glob(f"{LAST}*.ckpt") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def require_same_student(module: L.LightningModule, path: Path, checkpoint: dict[str, Any], otherwise: str) -> None:
    """Reject a checkpoint of a different student, naming the differences in the config, before Lightning does.

    Args:
        module: module with the config's student.
        path: the checkpoint file.
        checkpoint: its content.
        otherwise: alternative remedy, for the message.

    Raises:
        InputError: its student differs.
    """
    weights = checkpoint.get("state_dict")
    if not isinstance(weights, dict) or not isinstance(checkpoint.get("student"), dict):
        raise InputError(f"{path}: contains no student; pass a checkpoint that `boxpromptiml fit` wrote")
    own = module.state_dict()
    if {name: value.shape for name, value in weights.items()} == {name: value.shape for name, value in own.items()}:
        return
    student = module.student
    assert isinstance(student, Student)
    stated, arguments = checkpoint["student"], student.arguments
    different = [name for name in arguments if stated.get(name) != arguments[name]]
    words = ", ".join(f"{name} {stated.get(name)}, not {arguments[name]}" for name in different)
    raise InputError(
        f"{path}: its student has {words or 'other weights than this version'}; set the same in model.student, "
        f"or {otherwise}"
    )
