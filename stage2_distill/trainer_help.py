"""The short help of ``fit``, ``validate`` and ``test``: the most important options, without importing torch.

Lightning's own help lists several hundred options and imports everything; ``--help_all`` prints it.
"""

from __future__ import annotations

from typing import NamedTuple

HELP_ALL = "--help_all"


class Option(NamedTuple):
    """An option in the short help.

    Attributes:
        name: on the command line, without dashes.
        value: placeholder or example; empty for a flag.
        text: description.
    """

    name: str
    value: str
    text: str


CONFIG = [
    Option("config", "FILE", "The experiment as YAML. Of several, the later ones override the earlier ones."),
    Option("print_config", "", "Print the whole configuration with all overrides applied, and stop."),
]
FOLDER = Option("trainer.default_root_dir", "FOLDER", "The folder of the run; everything is written below it.")
HARDWARE = [
    Option("data.batch_size", "16", "Images per step and device."),
    Option("trainer.devices", "1", "How many GPUs, or how many processes on a CPU."),
]
CHECKPOINT = Option("ckpt_path", "FILE", "The checkpoint to score, or `last` for the newest of the run. Required.")
OVERWRITE = Option("overwrite", "", "Replace results with other settings in the folder.")
OPTIONS = {
    "fit": [
        *CONFIG,
        Option("data.caches", "'[FOLDER, ...]'", "Pseudo-masks to train on, made by `boxpromptiml pseudomasks`."),
        Option("data.image_size", "224", "Side in pixels to which images are resized for the student."),
        *HARDWARE,
        FOLDER,
        Option("trainer.max_epochs", "20", "How many epochs to train."),
        Option("trainer.precision", "bf16-mixed", "32-true, or bf16-mixed where the hardware has bf16 instructions."),
        Option("model.lr", "1e-3", "Peak learning rate."),
        Option("model.student.init_args.backbone", "NAME", "Any timm model that can return features."),
        Option("model.student.init_args.pretrained", "false", "Start from random instead of ImageNet weights."),
        Option("ckpt_path", "last", "Continue the run in the folder from its last checkpoint."),
        Option("overwrite", "", "Replace the run in the folder."),
    ],
    "validate": [
        *CONFIG,
        CHECKPOINT,
        Option("data.caches", "'[FOLDER, ...]'", "Caches whose val splits are compared with the student's masks."),
        Option("data.val_sets", "'{NAME: FOLDER}'", "Named validation sets, each a cache, instead of data.caches."),
        *HARDWARE,
        FOLDER,
        OVERWRITE,
    ],
    "test": [
        *CONFIG,
        CHECKPOINT,
        Option("data.test_sets", "'{NAME: MANIFEST}'", "Named test sets, each a manifest with ground truth."),
        *HARDWARE,
        Option("model.scoring.threshold", "0.5", "Pixels with a higher probability count as manipulated."),
        Option(
            "model.scoring.resolution", "truth", "Score at the ground truth's size (truth) or the student's (network)."
        ),
        FOLDER,
        OVERWRITE,
    ],
}
"""Command → options in its short help. A test compares them with the parser's."""
PURPOSE = {
    "fit": """\
Train a student on pseudo-masks (stage two).

Checkpoints, curves and pictures are written to fit/ in the run's folder. The best checkpoint is the one that agrees
best with the teacher on the val splits. After an interruption, add --ckpt_path last to the same command.""",
    "validate": """\
Measure how well a student agrees with its teacher on the val splits.

Writes validate/agreement.json in the run's folder, with scores for each validation set.""",
    "test": """\
Score a student against ground truth.

Writes test/scores.json, scores.md and scores.tex in the run's folder, with scores for each test set.""",
}
EXAMPLES = {
    "fit": [
        "boxpromptiml fit --config configs/demo.yaml",
        "boxpromptiml fit --config configs/best.yaml --data.caches '[my/cache]' --trainer.default_root_dir runs/my",
    ],
    "validate": [
        "boxpromptiml validate --config configs/demo.yaml --ckpt_path runs/demo/fit/checkpoints/best.ckpt",
        "boxpromptiml validate --config configs/demo.yaml --ckpt_path last --data.val_sets '{new: my/cache}'",
    ],
    "test": [
        "boxpromptiml test --config configs/demo.yaml --ckpt_path runs/demo/fit/checkpoints/best.ckpt",
        "boxpromptiml test --config configs/demo.yaml --ckpt_path last --data.test_sets '{new: my/manifest.json}'",
    ],
}
CONFIGS = """\
A config holds the whole experiment: student, loss, data and trainer. `boxpromptiml configs` lists those that come with
the package. Every entry is also an option, written with dots, which overrides the config."""


def short_help(command: str) -> str:
    """Return the short help of ``fit``, ``validate`` or ``test``."""
    lines = [f"usage: boxpromptiml {command} --config FILE [OPTIONS]", "", PURPOSE[command], "", CONFIGS, ""]
    lines += ["the most important options:"]
    for option in OPTIONS[command]:
        lines += [f"  --{option.name} {option.value}".rstrip(), f"      {option.text}"]
    lines += [f"  {HELP_ALL}", "      List all options."]
    return "\n".join([*lines, "", "examples:", *(f"  {line}" for line in EXAMPLES[command])])
