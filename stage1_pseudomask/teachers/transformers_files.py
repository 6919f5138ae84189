"""Model files of Segment Anything's family: download from the Hugging Face hub, and loading from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stage1_pseudomask.teachers.sam_weights import CheckpointError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FETCHED = ("*.json", WEIGHTS)
"""Files of a repository that are downloaded: settings and weights, neither of which can contain code."""


def located(model: str, revision: str) -> Path:
    """Return the folder of a model, or its folder in the hub's cache, whose name is the commit.

    Args:
        model: a folder, or OWNER/NAME on the hub, which is downloaded once.
        revision: branch, tag or commit on the hub.

    Raises:
        CheckpointError: it is not available, or its weights are not in safetensors format.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = _downloaded(model, revision)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder}: {name} is missing; use a model of the SAM family with {WEIGHTS}, or write one with "
                "save_pretrained"
            )
    return folder


def family(folder: Path) -> str:
    """Return the model type from its config, such as ``sam``, ``sam_hq`` or ``sam2``.

    Raises:
        CheckpointError: the type does not predict masks from boxes.
    """
    from transformers import MODEL_FOR_MASK_GENERATION_MAPPING

    path = folder / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["model_type"]
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: has no model_type; download or write the model again") from None
    known = sorted(config.model_type for config in MODEL_FOR_MASK_GENERATION_MAPPING)
    if found not in known:
        raise CheckpointError(
            f"{folder}: a model of type {found!r}, which does not accept boxes in this version of transformers; "
            f"use one of {', '.join(known)}"
        )
    return str(found)


def image_processor(folder: Path) -> Any:
    """Load the image processor of a model, which resizes, normalizes and pads photos.

    Raises:
        CheckpointError: its settings are missing or damaged.
    """
    from transformers import AutoImageProcessor

    _quieten()
    try:
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # invalid settings raise many types: OSError, TypeError, ValueError, KeyError
        raise _unusable(folder, "its image processor", error) from None


def network(folder: Path) -> Any:
    """Load a model in full precision and evaluation mode, on the CPU.

    Raises:
        CheckpointError: weights are missing, damaged or have the wrong shape; the library would initialize them at
            random.
    """
    import torch
    from transformers import AutoModelForMaskGeneration

    _quieten()
    try:
        model, report = AutoModelForMaskGeneration.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # damaged files raise many different types
        raise _unusable(folder, WEIGHTS, error) from None
    if lacking := sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])}):
        raise CheckpointError(
            f"{folder}: {len(lacking)} weights are missing or have another shape, such as {lacking[0]}; use a "
            "complete model, or download it again"
        )
    return model.eval()


def _downloaded(model: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(FETCHED)))
    except Exception as error:  # unknown id, no network, no access: the types depend on the version of the hub
        raise CheckpointError(
            f"{model}: no such folder, and the hub gives no revision {revision!r} of it ({_first_line(error)}); "
            "correct the name, or run `hf download` on a machine with network access and pass the folder"
        ) from None


def _quieten() -> None:
    """Silence the library's messages about loading; missing weights are detected here."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _unusable(folder: Path, what: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{folder}: {what} cannot be used ({_first_line(error)}); download or write the model again")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
