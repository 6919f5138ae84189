"""LightningCLI for the experiment: ``fit``, ``validate`` and ``test``."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

import lightning as L
import wandb
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from boxpromptiml import __version__
from boxpromptiml.core.limits import Count, check_values
from boxpromptiml.runtime.devices import existing_devices, trains_in_bf16
from boxpromptiml.runtime.flags import FlagParser
from boxpromptiml.runtime.limits_in_help import LimitsInHelp
from boxpromptiml.runtime.locks import exclusive_lock
from boxpromptiml.runtime.provenance import file_sha256
from boxpromptiml.runtime.run_folder import refuse_another_training, run_folder
from stage2_distill.callbacks.run_record import RunRecord
from stage2_distill.data.datamodule import PseudoMaskData
from stage2_distill.evaluation.agreement import WriteAgreement
from stage2_distill.evaluation.score_report import WriteScores
from stage2_distill.model import checkpoints
from stage2_distill.model.student import read_checkpoint
from stage2_distill.module import Distillation

# Lightning 2.6 uses names of jsonargparse and torch that are now deprecated; we cannot change that
warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning.pytorch.cli")
warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec")
# arguments are passed explicitly, because `boxpromptiml.cli` resolves the configurations that they name
warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
# validate and test only need the averaged weights in a checkpoint
warnings.filterwarnings("ignore", message=".*WeightAveraging callback, but loading a checkpoint outside the 'fit'")


WANDB_FOLDERS = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_CONFIG_DIR": "config"}
"""Environment variables for W&B's folders → subfolders of a run's folder ``wandb``."""


class SaveAndLogConfig(SaveConfigCallback):
    """Write the resolved configuration to the run's folder and to each logger, for grouping in W&B."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Save only when training, because a test must not overwrite the configuration of the run it tests."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Send the configuration to the loggers; Lightning writes the file."""
        content = self.config.as_dict()
        for logger in trainer.loggers:
            logger.log_hyperparams({key: content[key] for key in ("model", "data", "seed_everything")})


def read_whole_numbers_as_counts(function: Callable[..., Any]) -> None:
    """Let jsonargparse read 1 as a number of batches, not as 1.0, the share of all batches.

    `typing` keeps one order of int and float for the whole process, whichever package asks for it first, and
    jsonargparse tries types in that order.

    Args:
        function: its annotations are changed in place.
    """
    annotations = inspect.unwrap(function).__annotations__
    for name, annotation in annotations.items():
        if set(get_args(annotation)) == {int, float, type(None)}:
            annotations[name] = int | float | None


read_whole_numbers_as_counts(L.Trainer.__init__)


class TrainerParser(LimitsInHelp, FlagParser, LightningArgumentParser):
    """Lightning's parser with flags and with the ranges of our arguments in its help."""


class TrainerCLI(LightningCLI):
    """LightningCLI without ``predict`` (`boxpromptiml predict` processes files); each run locks its folder."""

    trainer: L.Trainer
    model: Distillation
    datamodule: PseudoMaskData
    set_aside = 0
    """Number of skipped inputs."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return Lightning's subcommands without predict."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Define the student's input size only once, in ``data.image_size``."""
        parser.link_arguments("data.image_size", "model.student.init_args.image_size")
        parser.add_argument("--base", default=None, help="In a config: another config that it builds on.")
        parser.add_argument(
            "--overwrite", type=bool, default=False, help="Replace the existing run, or results with other settings."
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments, and reject a file that is not a checkpoint before Lightning opens it."""
        super().parse_arguments(parser, args)
        named = self.config[self.config["subcommand"]].get("ckpt_path")
        if named and Path(named).is_file():
            read_checkpoint(Path(named))

    def before_instantiate_classes(self) -> None:
        """Store W&B's files with the run, omit ``overwrite`` from the saved config, reject bf16 on CPUs without it."""
        config = self.config[cast(str, self.subcommand)]
        self.overwrite, config["overwrite"], config["base"] = config["overwrite"], False, None
        if config["trainer"]["precision"] == "bf16-mixed" and not trains_in_bf16(config["trainer"]["accelerator"]):
            print("precision: 32-true, because this processor has no bf16 instructions and would emulate bf16-mixed")
            config["trainer"]["precision"] = "32-true"
        keep_wandb_in(Path(config["trainer"]["default_root_dir"] or Path.cwd()))

    def instantiate_trainer(self, **options: Any) -> L.Trainer:
        """Create the trainer, with a clear error if its devices do not exist."""
        trainer = self.config[cast(str, self.subcommand)]["trainer"]
        with existing_devices(trainer["accelerator"], trainer["devices"]):
            return super().instantiate_trainer(**options)

    def fit(self, **options: Any) -> None:
        """Train in a folder without another run, or resume the run in it."""
        if self.trainer.max_epochs not in (None, -1):  # -1 means unlimited
            check_values({"trainer.max_epochs": self.trainer.max_epochs}, {"trainer.max_epochs": Count})
        resumed = checkpoints.to_resume(self.trainer, self.model, options["ckpt_path"])
        folder = _folder(self.trainer, RunRecord, "fit")
        with self._lock_in_first_process(exclusive_lock(folder)):
            if self.trainer.is_global_zero:
                self._refuse_another_run(folder, resumed)
            self.trainer.fit(**options)

    def validate(self, **options: Any) -> None:
        """Compare a checkpoint's student with its teacher."""
        path = checkpoints.to_score(self.trainer, self.model, options["ckpt_path"])
        data = self.datamodule
        settings = {"sets": data.val_sets or {}, "caches": data.caches, "authentic": data.authentic}
        results = ("agreement.json",)
        with self._results(_folder(self.trainer, WriteAgreement, "validate"), "agreement", path, settings, results):
            self.trainer.validate(**options | {"ckpt_path": path})
        self.set_aside = _set_aside(self.trainer)

    def test(self, **options: Any) -> None:
        """Score a checkpoint's student."""
        path = checkpoints.to_score(self.trainer, self.model, options["ckpt_path"])
        manifests = {name: Path(manifest) for name, manifest in self.datamodule.test_manifests.items()}
        settings = {"sets": {name: file_sha256(file) for name, file in manifests.items() if file.is_file()}}
        results = ("scores.json", "scores.md", "scores.tex")
        with self._results(_folder(self.trainer, WriteScores, "test"), "scores", path, settings, results):
            self.trainer.test(**options | {"ckpt_path": path})
        self.set_aside = _set_aside(self.trainer)

    def _results(
        self, folder: Path, name: str, checkpoint: Path, settings: Mapping[str, Any], results: tuple[str, ...]
    ) -> AbstractContextManager[object]:
        """Return the folder lock for results of this checkpoint with these settings and scoring options."""
        known = {
            "checkpoint_sha256": file_sha256(checkpoint),
            "scoring": asdict(self.model.image_scores.scoring),
            "image_size": self.datamodule.image_size,
            **settings,
            "package_version": __version__,
        }
        return self._lock_in_first_process(run_folder(folder, f"{name}.settings.json", known, results, self.overwrite))

    def _lock_in_first_process(self, lock: AbstractContextManager[object]) -> AbstractContextManager[object]:
        """Lock in the first process, which starts the others; not for fast_dev_run, which writes nothing."""
        return lock if self.trainer.is_global_zero and not self.trainer.fast_dev_run else nullcontext()  # type: ignore[attr-defined]

    def _refuse_another_run(self, folder: Path, resumed: Path | None) -> None:
        places = checkpoints.folders(self.trainer)
        if resumed is not None and resumed.parent.resolve() in [place.resolve() for place in places]:
            return
        refuse_another_training(folder, places, self.overwrite)


def run(arguments: list[str]) -> int:
    """Parse and run ``fit``, ``validate`` or ``test``.

    The W&B session is ended, so that the next command in the same process starts a new run configured by the
    environment, with its files in a folder of its own.

    Returns:
        0, or 3 if inputs were skipped. Processes other than the first return 0, because Lightning would kill the first
        one otherwise.
    """
    exit_code = 1
    set_by_user = os.environ.keys() & WANDB_FOLDERS.keys()
    try:
        command = TrainerCLI(
            Distillation,
            PseudoMaskData,
            args=arguments,
            save_config_callback=SaveAndLogConfig,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
            parser_class=TrainerParser,
            parser_kwargs={"prog": "boxpromptiml", "parser_mode": "omegaconf+"},  # ${...} after all overlays are merged
            seed_everything_default=0,
        )
        exit_code = 0
    finally:
        wandb.finish(exit_code)
        wandb.teardown()
        for variable in WANDB_FOLDERS.keys() - set_by_user:
            os.environ.pop(variable, None)
    return 3 if command.set_aside and command.trainer.is_global_zero else 0


def keep_wandb_in(folder: Path) -> None:
    """Make W&B store its files below a run's folder, unless the environment or existing settings say otherwise.

    Its defaults are in the home folder, which may be read-only for a job on a cluster.
    """
    for variable, name in WANDB_FOLDERS.items():
        if variable != "WANDB_CONFIG_DIR" or not (Path.home() / ".config/wandb").exists():
            os.environ.setdefault(variable, str((folder / "wandb" / name).resolve()))


def _set_aside(trainer: L.Trainer) -> int:
    """Sum the numbers of inputs that the result writers skipped."""
    writers = (callback for callback in trainer.callbacks if isinstance(callback, WriteAgreement | WriteScores))  # type: ignore[attr-defined]
    return sum(callback.set_aside for callback in writers)


def _folder(trainer: L.Trainer, writer: type[RunRecord | WriteAgreement | WriteScores], name: str) -> Path:
    """Return the folder of the callback that writes a command's results."""
    writers = (callback for callback in trainer.callbacks if isinstance(callback, writer))  # type: ignore[attr-defined]
    return next((callback.folder for callback in writers), Path(trainer.default_root_dir) / name)
