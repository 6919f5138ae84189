"""The command line.

``fit``, ``validate`` and ``test`` run Lightning's CLI. Every other command is a typed function, whose signature and
docstring jsonargparse turns into options and help. Heavy modules are imported only after the command is known.
"""

from __future__ import annotations

import codecs
import importlib
import io
import os
import sys
import unicodedata
from collections.abc import Sequence

from boxpromptiml import __version__
from boxpromptiml.runtime.configs import with_base_configs, with_packaged_paths
from boxpromptiml.runtime.imports import quick_imports
from boxpromptiml.runtime.library_errors import user_error_message
from boxpromptiml.runtime.renamed import refuse_old_names
from boxpromptiml.runtime.wandb_account import has_account

TOOLS = {
    "synthesize": ("boxpromptiml.synthesis.generate:synthesize", "make forgeries with masks and boxes from photos"),
    "prepare": ("boxpromptiml.datasets.prepare:prepare", "make a manifest for a data set in its native layout"),
    "mixture": ("boxpromptiml.datasets.mixture:mixture", "make manifests for a training mixture and its test sets"),
    "redraw": ("boxpromptiml.datasets.redraw:redraw", "redraw a manifest's boxes, looser or tighter"),
    "import_boxes": (
        "boxpromptiml.datasets.annotations.import_boxes:import_boxes",
        "make a manifest from boxes drawn in an annotation tool",
    ),
    "export_boxes": (
        "boxpromptiml.datasets.annotations.export_boxes:export_boxes",
        "write a manifest's boxes for an annotation tool",
    ),
    "check": (
        "boxpromptiml.datasets.check.command:check",
        "check a data set: files, boxes, duplicates, leaks between splits",
    ),
    "pseudomasks": ("stage1_pseudomask.generate:pseudomasks", "stage one: boxes to pseudo-masks in HDF5 shards"),
    "cache": ("boxpromptiml.shards.maintenance:COMMANDS", "maintain a cache: verify, info, merge, prune"),
    "audit": ("stage1_pseudomask.audit:audit", "compare pseudo-masks with ground truth"),
    "robustness": (
        "stage2_distill.evaluation.robustness:robustness",
        "scores under blur, noise, JPEG, resizing, gamma and sharing",
    ),
    "calibrate": (
        "stage2_distill.evaluation.calibrate:calibrate",
        "choose a student's threshold and save both",
    ),
    "predict": ("stage2_distill.inference.predict:predict", "masks for new photos from a trained student"),
    "export": (
        "stage2_distill.inference.export.command:export",
        "write a student as an ONNX or torch.export file",
    ),
    "ablation": (
        "boxpromptiml.apps.ablation.command:ablation",
        "train and compare variants over seeds",
    ),
    "app": ("boxpromptiml.apps.web_app.command:app", "web app to try a student, draw boxes and review a cache"),
    "serve": ("boxpromptiml.apps.serve.command:serve", "HTTP service that returns masks, scores and regions"),
    "compare": ("boxpromptiml.apps.compare:compare", "compare two recipes over seeds and images"),
    "report": ("boxpromptiml.apps.report.page:report", "write an HTML page about a run"),
    "workspace": (
        "boxpromptiml.apps.wandb_workspace.command:workspace",
        "save a W&B workspace with panels for everything that is logged",
    ),
    "configs": ("boxpromptiml.runtime.configs:configs", "list or copy the configurations that come with the package"),
    "complexity": ("stage2_distill.model.complexity:complexity", "parameters and multiply-accumulates of a student"),
}
TRAINER = {
    "fit": "stage two: train a student on pseudo-masks",
    "validate": "agreement with the teacher, for each named validation set",
    "test": "scores against ground truth, for each named test set",
}
SIMILAR = str.maketrans({"×": "x", "–": "-", "−": "-", "…": "...", "±": "+-", "≤": "<=", "≥": ">=", "α": "alpha"})
FAILED = 2
"""Exit code of a command that could not run. Exit code 3 means that it ran but skipped some inputs and said why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command named by the arguments and return its exit code."""
    make_printable()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if words else FAILED
    if words[0] == "--version":
        print(f"boxpromptiml {__version__}")
        return 0
    command, *rest = words = with_packaged_paths(words)
    if command not in TOOLS and command not in TRAINER:
        print(f"boxpromptiml: unknown command {command!r}\n\n{_overview()}", file=sys.stderr)
        return FAILED
    try:
        words = with_base_configs(words) if command in TRAINER else words
        refuse_old_names(words)
        if command in TRAINER:
            return _run_trainer(command, words)
        return _run_tool(command, rest)
    except Exception as error:
        if (line := user_error_message(error)) is None:  # a bug of ours keeps its traceback
            raise
        print(f"boxpromptiml {command}: {line}", file=sys.stderr)
        return FAILED
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, KeyboardInterrupt):
            raise  # Lightning turns Ctrl-C into a SystemExit
        how = (
            "add --ckpt_path last to continue from the last checkpoint"
            if command == "fit"
            else "run the same command to continue"
        )
        print(f"boxpromptiml {command}: stopped; {how}", file=sys.stderr)
        return 130


def make_printable() -> None:
    """Replace characters that the terminal's encoding lacks (such as ASCII) by similar ones, or by a question mark."""
    codecs.register_error("similar", _similar)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="similar")


def _similar(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end].translate(SIMILAR)
    plain = [letter for letter in unicodedata.normalize("NFKD", letters) if not unicodedata.combining(letter)]
    return "".join(plain).encode("ascii", "replace").decode(), error.end


def _run_tool(command: str, rest: list[str]) -> int:
    with quick_imports():
        from jsonargparse import auto_cli

        from boxpromptiml.runtime.limits_in_help import CommandParser

        module, function = TOOLS[command][0].split(":")
        tool = getattr(importlib.import_module(module), function)
    program = f"boxpromptiml {command}"
    return auto_cli(tool, args=rest, as_positional=False, prog=program, parser_class=CommandParser) or 0


def _run_trainer(command: str, words: list[str]) -> int:
    from stage2_distill.trainer_help import HELP_ALL, short_help

    if {"-h", "--help"} & set(words):
        print(short_help(command))
        return 0
    words = ["--help" if word == HELP_ALL else word for word in words]
    _keep_wandb_quiet()
    if os.environ.get("WANDB_JOB_TYPE") in (None, *TRAINER):  # keep a job type that the user has set
        os.environ["WANDB_JOB_TYPE"] = command
    with quick_imports():
        from stage2_distill.trainer_cli import run
    return run(words)


def _keep_wandb_quiet() -> None:
    """Record W&B runs offline if there is no account, so that W&B does not ask; ``wandb sync`` uploads them later."""
    if "WANDB_MODE" not in os.environ and not has_account():
        os.environ["WANDB_MODE"] = "offline"


def _overview() -> str:
    lines = [
        "usage: boxpromptiml COMMAND [--config FILE] [OPTIONS]",
        "",
        "Image manipulation localization learned from coarse boxes.",
        "",
        "commands, in the order of a project:",
    ]
    order = [
        "synthesize",
        "prepare",
        "mixture",
        "redraw",
        "import_boxes",
        "export_boxes",
        "check",
        "pseudomasks",
        "cache",
        "audit",
        "fit",
        "validate",
        "test",
        "robustness",
        "calibrate",
        "predict",
        "export",
        "complexity",
        "ablation",
        "compare",
        "app",
        "serve",
        "report",
        "workspace",
        "configs",
    ]
    help_of = {name: text for name, (_, text) in TOOLS.items()} | TRAINER
    lines += [f"  {name:<12} {help_of[name]}" for name in order]
    lines += [
        "",
        "`boxpromptiml COMMAND --help` explains its options; `--print_config` prints them as a config.",
        "`boxpromptiml configs` lists the configurations that come with the package. `--config configs/demo.yaml`",
        "works in any folder and needs no data, no GPU and no download.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
