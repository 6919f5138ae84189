"""Provenance of checkpoints: the pseudo-masks they were trained on, by hash and as W&B artifacts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import wandb

from boxpromptiml.runtime.provenance import file_sha256
from boxpromptiml.shards import read_index

Facts = Mapping[str, Any]


def of_caches(caches: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Describe caches: artifact name → stamp, path and SHA-256 of ``index.json``, number of samples.

    The name ends in the stamp's hash of settings, so that caches with the same settings are versions of one artifact.

    Args:
        caches: folders written by `boxpromptiml pseudomasks`.

    Raises:
        CacheError: a cache is missing or incomplete.
    """
    found = {}
    for cache in map(Path, caches):
        index = read_index(cache)
        name = re.sub(r"[^\w.-]", "-", f"pseudo-masks-{index.stamp.teacher}-{index.stamp.config_hash}")
        found[name] = {
            **asdict(index.stamp),
            "samples": index.samples,
            "set_aside": len(index.set_aside),
            "index": str(cache / "index.json"),
            "index_sha256": file_sha256(cache / "index.json"),
        }
    return found


def declare_inputs(run: wandb.Run, pseudo_masks: Mapping[str, Facts]) -> None:
    """Declare a run's caches as input artifacts in W&B; only ``index.json`` is uploaded, no images.

    W&B does not allow an offline run to use artifacts. It logs them as its own instead, and its config names them too.

    Args:
        run: online, offline or disabled.
        pseudo_masks: as returned by `of_caches`.
    """
    for name, facts in pseudo_masks.items():
        artifact = wandb.Artifact(name, type="pseudo-masks", metadata=dict(facts))
        artifact.add_file(facts["index"], name="index.json")
        (run.log_artifact if run.offline else run.use_artifact)(artifact)


def log_checkpoint(run: wandb.Run, checkpoint: Path, facts: Facts) -> None:
    """Log a checkpoint to W&B as artifact ``student-RUN`` of type model, with its hash and provenance."""
    metadata = {**facts, "sha256": file_sha256(checkpoint)}
    artifact = wandb.Artifact(f"student-{run.id}", type="model", metadata=metadata)
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact, aliases=["best", "latest"])
