"""Table of renamed modules, classes and options, used to name the new spelling when a configuration has the old one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from boxpromptiml.core.records import InputError

PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "boxpromptiml.ablation": "boxpromptiml.apps.ablation",
        "boxpromptiml.annotations": "boxpromptiml.datasets.annotations",
        "boxpromptiml.app": "boxpromptiml.apps.web_app",
        "boxpromptiml.cache": "boxpromptiml.shards.maintenance",
        "boxpromptiml.check": "boxpromptiml.datasets.check",
        "boxpromptiml.serve": "boxpromptiml.apps.serve",
    }
)
"""Old package path → new package path, for modules that kept their own name."""
MODULES: Mapping[str, str] = MappingProxyType(
    {
        "boxpromptiml.annotations.addresses": "boxpromptiml.datasets.annotations.image_urls",
        "boxpromptiml.annotations.questions": "boxpromptiml.datasets.annotations.ambiguities",
        "boxpromptiml.app.example": "boxpromptiml.apps.web_app.example_photo",
        "boxpromptiml.app.guard": "boxpromptiml.apps.web_app.middleware",
        "boxpromptiml.app.preview": "boxpromptiml.apps.web_app.teacher_preview",
        "boxpromptiml.app.ranking": "boxpromptiml.apps.web_app.cache_review",
        "boxpromptiml.app.session": "boxpromptiml.apps.web_app.annotation_session",
        "boxpromptiml.boxes": "boxpromptiml.core.boxes",
        "boxpromptiml.charts": "boxpromptiml.apps.report.charts",
        "boxpromptiml.coco": "boxpromptiml.manifests.coco",
        "boxpromptiml.compare": "boxpromptiml.apps.compare",
        "boxpromptiml.configs": "boxpromptiml.runtime.configs",
        "boxpromptiml.datasets.annotations.addresses": "boxpromptiml.datasets.annotations.image_urls",
        "boxpromptiml.datasets.annotations.questions": "boxpromptiml.datasets.annotations.ambiguities",
        "boxpromptiml.devices": "boxpromptiml.runtime.devices",
        "boxpromptiml.images.regions": "boxpromptiml.images.connected_regions",
        "boxpromptiml.labels": "boxpromptiml.manifests.labels",
        "boxpromptiml.limits": "boxpromptiml.core.limits",
        "boxpromptiml.locks": "boxpromptiml.runtime.locks",
        "boxpromptiml.manifest": "boxpromptiml.manifests.manifest",
        "boxpromptiml.pictures": "boxpromptiml.images.visualization",
        "boxpromptiml.processes": "boxpromptiml.runtime.processes",
        "boxpromptiml.protocol": "boxpromptiml.scoring.protocol",
        "boxpromptiml.provenance": "boxpromptiml.runtime.provenance",
        "boxpromptiml.records": "boxpromptiml.core.records",
        "boxpromptiml.regions": "boxpromptiml.images.connected_regions",
        "boxpromptiml.report": "boxpromptiml.apps.report.page",
        "boxpromptiml.results": "boxpromptiml.apps.run_results",
        "boxpromptiml.run_folder": "boxpromptiml.runtime.run_folder",
        "boxpromptiml.scores": "boxpromptiml.scoring.score_functions",
        "boxpromptiml.scoring.scores": "boxpromptiml.scoring.score_functions",
        "boxpromptiml.serve.gate": "boxpromptiml.apps.serve.middleware",
        "boxpromptiml.serve.limits": "boxpromptiml.apps.serve.request_limits",
        "boxpromptiml.synthesis.forge": "boxpromptiml.synthesis.manipulations",
        "boxpromptiml.synthesis.regions": "boxpromptiml.synthesis.region_shapes",
        "boxpromptiml.tables": "boxpromptiml.scoring.tables",
        "boxpromptiml.texts": "boxpromptiml.core.text_decoding",
        "boxpromptiml.wandb_account": "boxpromptiml.runtime.wandb_account",
        "boxpromptiml.web": "boxpromptiml.apps.http_security",
        "boxpromptiml.workspace": "boxpromptiml.apps.wandb_workspace",
        "stage1_pseudomask.tuning": "stage1_pseudomask.batch_size",
        "stage2_distill.agreement": "stage2_distill.evaluation.agreement",
        "stage2_distill.augment": "stage2_distill.data.augmentation",
        "stage2_distill.box_terms": "stage2_distill.losses.box_prior",
        "stage2_distill.calibrate": "stage2_distill.evaluation.calibrate",
        "stage2_distill.callbacks": "stage2_distill.callbacks.panels",
        "stage2_distill.checkpoints": "stage2_distill.model.checkpoints",
        "stage2_distill.correction": "stage2_distill.losses.self_correction",
        "stage2_distill.curves": "stage2_distill.evaluation.robustness_report",
        "stage2_distill.dashboard": "stage2_distill.callbacks.wandb_dashboard",
        "stage2_distill.datamodule": "stage2_distill.data.datamodule",
        "stage2_distill.dataset": "stage2_distill.data.dataset",
        "stage2_distill.degrade": "stage2_distill.data.degradations",
        "stage2_distill.evaluate": "stage2_distill.evaluation.score_report",
        "stage2_distill.evaluation.scores": "stage2_distill.evaluation.score_report",
        "stage2_distill.export": "stage2_distill.inference.export.command",
        "stage2_distill.fusion": "stage2_distill.model.fusion",
        "stage2_distill.given_photo": "stage2_distill.inference.given_photo",
        "stage2_distill.inspection": "stage2_distill.callbacks.gate_statistics",
        "stage2_distill.journal": "stage2_distill.inference.prediction_log",
        "stage2_distill.lineage": "stage2_distill.callbacks.wandb_artifacts",
        "stage2_distill.localizer": "stage2_distill.inference.localizer",
        "stage2_distill.loss": "stage2_distill.losses.distillation",
        "stage2_distill.photo_files": "stage2_distill.inference.photo_paths",
        "stage2_distill.predict": "stage2_distill.inference.predict",
        "stage2_distill.pretrained": "stage2_distill.model.pretrained",
        "stage2_distill.released": "stage2_distill.inference.released",
        "stage2_distill.resampling": "stage2_distill.inference.export.resizing",
        "stage2_distill.residual": "stage2_distill.model.noise_residual",
        "stage2_distill.robustness": "stage2_distill.evaluation.robustness",
        "stage2_distill.sampling": "stage2_distill.data.sampling",
        "stage2_distill.scoreboard": "stage2_distill.evaluation.metrics",
        "stage2_distill.self_similarity": "stage2_distill.model.self_similarity",
        "stage2_distill.speed": "stage2_distill.model.speed",
        "stage2_distill.student": "stage2_distill.model.student",
        "stage2_distill.target": "stage2_distill.data.target",
        "stage2_distill.throughput": "stage2_distill.callbacks.throughput",
        "stage2_distill.tiling": "stage2_distill.inference.tiling",
        "stage2_distill.worst_cases": "stage2_distill.callbacks.hardest_images",
    }
)
"""Old module path → new module path; looked up before `PACKAGES`."""
CLASSES: Mapping[str, str] = MappingProxyType(
    {"stage2_distill.callbacks.RunRecord": "stage2_distill.callbacks.run_record.RunRecord"}
)
"""Old class path → new class path, for classes that moved out of their module."""
_OF_TRAINING = {
    "model.loss.init_args.margin": "model.loss.init_args.tightness_margin",
    "model.loss.margin": "model.loss.tightness_margin",
}
OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"pseudomasks": {"rank": "select_by"}, **dict.fromkeys(("fit", "validate", "test"), _OF_TRAINING)}
)
"""Command → old option name → new option name."""
CLASS_PATH = re.compile(r"(?<![\w./])((?:boxpromptiml|stage1_pseudomask|stage2_distill)[\w.]*)\.([A-Z]\w*)")


def new_class_path(old: str) -> str | None:
    """New path of a renamed class; None if the given path is not an old one."""
    module, _, name = old.rpartition(".")
    package, _, last = module.rpartition(".")
    if moved := CLASSES.get(old):
        return moved
    if moved := MODULES.get(module):
        return f"{moved}.{name}"
    return f"{PACKAGES[package]}.{last}.{name}" if package in PACKAGES else None


def refuse_old_names(words: Sequence[str]) -> None:
    """Refuse a command line that uses a renamed class or option, itself or in its configuration files.

    Raises:
        InputError: An old name was found; the message gives its place and the new name.
    """
    for option, new in OPTIONS.get(words[0], {}).items():
        if any(word == f"--{option}" or word.startswith(f"--{option}=") for word in words):
            raise InputError(f"--{option} is now called --{new}; use that instead")
    for word in words:
        _refuse(word, "the command")
    for path in _configurations(words):
        content = _content(path)
        options = set(_options(content))
        for option, new in OPTIONS.get(words[0], {}).items():
            if option in options:
                raise InputError(f"{path}: {option} is now called {new}; use that instead")
        for text in _texts(content):
            _refuse(text, str(path))


def _refuse(text: str, where: str) -> None:
    for found in CLASS_PATH.finditer(text):
        if new := new_class_path(found[0]):
            raise InputError(f"{where}: {found[0]} is now called {new}; use that instead")


def _configurations(words: Sequence[str]) -> Iterator[Path]:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--config" and following:
            yield Path(following)
        elif word.startswith("--config="):
            yield Path(word.removeprefix("--config="))


def _content(path: Path) -> object:
    """Decoded content of a configuration file; None if it cannot be read, which the command itself then reports."""
    import msgspec.yaml  # slow import, needed only with --config

    try:
        return msgspec.yaml.decode(path.read_bytes())
    except (OSError, ValueError):
        return None


def _options(content: object, prefix: str = "") -> Iterator[str]:
    """Dotted names of the options in a configuration, without the arguments of third-party classes."""
    if not isinstance(content, dict):
        return
    named = content.get("class_path")
    if named is not None and not CLASS_PATH.fullmatch(str(named)):
        return
    for name, value in content.items():
        yield f"{prefix}{name}"
        yield from _options(value, f"{prefix}{name}.")


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)
