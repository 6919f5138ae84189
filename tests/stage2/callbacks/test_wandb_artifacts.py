"""W&B lineage from a checkpoint to the cache index it was trained on."""

import hashlib
import json
from types import SimpleNamespace

import pytest

from boxpromptiml.shards import CacheError
from stage2_distill.callbacks import wandb_artifacts


def test_a_cache_artifact_is_named_by_settings_and_identified_by_its_index(cache):
    [(name, facts)] = wandb_artifacts.of_caches([str(cache)]).items()
    index = json.loads((cache / "index.json").read_text())
    assert name == "pseudo-masks-none-0"
    assert facts["index_sha256"] == hashlib.sha256((cache / "index.json").read_bytes()).hexdigest()
    assert (facts["samples"], facts["set_aside"]) == (index["samples"], 0)
    assert {key: facts[key] for key in index["stamp"]} == index["stamp"]


def test_without_a_cache_there_is_no_lineage(tmp_path):
    assert wandb_artifacts.of_caches([]) == {}
    with pytest.raises(CacheError, match="boxpromptiml pseudomasks"):
        wandb_artifacts.of_caches([str(tmp_path)])


@pytest.mark.parametrize(("offline", "expected"), [(True, "logged"), (False, "used")])
def test_an_online_run_uses_the_index_and_an_offline_run_logs_it(cache, offline, expected):
    seen = []
    run = SimpleNamespace(
        offline=offline,
        log_artifact=lambda artifact: seen.append(("logged", artifact)),
        use_artifact=lambda artifact: seen.append(("used", artifact)),
    )
    facts = wandb_artifacts.of_caches([str(cache)])
    wandb_artifacts.declare_inputs(run, facts)
    [(how, artifact)] = seen
    assert how == expected
    assert (artifact.type, list(artifact.manifest.entries)) == ("pseudo-masks", ["index.json"])  # no image data
    assert artifact.metadata == facts["pseudo-masks-none-0"]
