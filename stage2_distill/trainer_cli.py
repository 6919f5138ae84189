"""LightningCLI over the experiment: ``fit``, ``validate`` and ``test``."""

from __future__ import annotations

import warnings

import lightning as L
import wandb
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from stage2_distill.datamodule import PseudoMaskData
from stage2_distill.module import Distillation

# Lightning 2.6 calls jsonargparse and torch by names that they have deprecated since; nothing here can change that
warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning.pytorch.cli")
warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec")
# the command's words are handed over, because the door finds the configurations that they name
warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
# a checkpoint of averaged weights is all that validate and test need
warnings.filterwarnings("ignore", message=".*WeightAveraging callback, but loading a checkpoint outside the 'fit'")


class SaveAndLogConfig(SaveConfigCallback):
    """Write the resolved configuration beside the training run, and into each logger, so that W&B can group by it."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Only when training: a test must not overwrite what it tests."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Send the configuration to the loggers; Lightning writes the file."""
        content = self.config.as_dict()
        for logger in trainer.loggers:
            logger.log_hyperparams({key: content[key] for key in ("model", "data", "seed_everything")})


class TrainerCLI(LightningCLI):
    """The unmodified LightningCLI, less ``predict``, which `boxpromptiml predict` does for files."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's own, without predict."""
        return {name: skip for name, skip in LightningCLI.subcommands().items() if name != "predict"}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """State the student's input size once, in ``data.image_size``."""
        parser.link_arguments("data.image_size", "model.student.init_args.image_size")


def run(arguments: list[str]) -> None:
    """Parse and run ``fit``, ``validate`` or ``test``.

    W&B's session ends with the command, so that the next one in the same process has a run of its own, named anew by
    the environment.
    """
    exit_code = 1
    try:
        TrainerCLI(
            Distillation,
            PseudoMaskData,
            args=arguments,
            save_config_callback=SaveAndLogConfig,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
            parser_kwargs={"prog": "boxpromptiml", "parser_mode": "omegaconf+"},  # ${...} after all overlays are merged
            seed_everything_default=0,
        )
        exit_code = 0
    finally:
        wandb.finish(exit_code)
        wandb.teardown()
