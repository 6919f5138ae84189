"""From a checkpoint back to the pseudo-masks it was trained on, by hashes, and as artifacts on W&B."""

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
    """What made each cache: artifact name → its stamp, the SHA-256 of its ``index.json``, how many samples, where.

    The name ends in the stamp's hash of settings, so that caches of equal settings are versions of one artifact.

    Args:
        caches: folders that `boxpromptiml pseudomasks` wrote.

    Raises:
        CacheError: one of them is not there or not complete.
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
    """Tell W&B what a run learns from: ``index.json`` of each cache as an artifact that the run uses; no pixel of it.

    An offline run cannot use artifacts, W&B refuses that. It hands them in as its own, and its config names them too.

    Args:
        run: online, offline or disabled.
        pseudo_masks: as `of_caches` gives them.
    """
    for name, facts in pseudo_masks.items():
        artifact = wandb.Artifact(name, type="pseudo-masks", metadata=dict(facts))
        artifact.add_file(facts["index"], name="index.json")
        (run.log_artifact if run.offline else run.use_artifact)(artifact)


def log_checkpoint(run: wandb.Run, checkpoint: Path, facts: Facts) -> None:
    """Hand a checkpoint to W&B as the artifact ``student-RUN`` of type model, with its hash and what it came from."""
    metadata = {**facts, "sha256": file_sha256(checkpoint)}
    artifact = wandb.Artifact(f"student-{run.id}", type="model", metadata=metadata)
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact, aliases=["best", "latest"])
