"""Content of the W&B dashboard, read back from offline runs."""

import csv
import hashlib
import json
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.apps.wandb_workspace.view import CURVES, MEDIA, TABLES
from boxpromptiml.cli import main
from boxpromptiml.runtime.processes import command_words

SCALARS = {
    *("val/bce", "val/dice", "val/outside", "val/tightness", "val/loss", "val/f1_pseudo_mask", "train/loss"),
    *(f"val/gate_{part}/level_{level}" for part in ("mean", "std", "near_0", "near_1") for level in range(1, 5)),
    *("val/memory_dead", "val/memory_evenness/position", "val/memory_evenness/bank"),
    *("val/memory_similarity/mean", "val/memory_similarity/max"),
    *("time/images_per_second", "time/share_waiting_for_data"),
}


def table(run, name):
    """Content of the last table that was logged under a name."""
    [*_, step] = [step for step in run.history if f"{name}.path" in step]
    return json.loads((run.folder / "files" / step[f"{name}.path"]).read_text())


def metadata(run, kind):
    return {each["name"]: json.loads(each["metadata"]) for each in run.artifacts if each["type"] == kind}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, wandb_offline, with_wandb):
    """Folder of a training run and a test of its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    config = str(with_wandb(folder))
    wandb_offline.setenv("WANDB_RUN_GROUP", "study")
    wandb_offline.setenv("WANDB_TAGS", "mine")
    wandb_offline.setenv("WANDB_NAME", "first")
    assert main(["fit", "--config", config, "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "2"]) == 0
    wandb_offline.delenv("WANDB_TAGS")
    wandb_offline.setenv("WANDB_NAME", "second")
    assert main(["test", "--config", config, "--ckpt_path", str(folder / "checkpoints/best.ckpt")]) == 3
    return folder


@pytest.fixture(scope="module")
def fit(folder, offline_runs):
    return offline_runs(folder)[0]


@pytest.fixture(scope="module")
def tested(folder, offline_runs):
    return offline_runs(folder)[1]


def test_scalars_reach_both_loggers(folder, fit):
    recorded = {key for step in fit.history for key in step}
    assert recorded >= SCALARS
    with (folder / "fit/version_0/metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {key for row in rows for key, value in row.items() if value} >= SCALARS
    losses = [row for row in rows if row["val/loss"]]
    for row in losses:  # these two terms have weight 1, the others 0
        assert float(row["val/loss"]) == pytest.approx(float(row["val/bce"]) + float(row["val/dice"]), abs=1e-4)


def test_commands_in_one_process_are_separate_runs_named_by_the_environment(fit, tested):
    named = [[each.run[key] for key in ("run_group", "display_name", "job_type")] for each in (fit, tested)]
    assert named == [["study", "first", "fit"], ["study", "second", "test"]]
    assert "tags" not in tested.run


def test_a_run_records_its_teacher_and_its_student(fit):
    assert set(fit.run["tags"]) == {"mine", "backbone:mobilenetv3_small_050", "teacher:none"}
    assert fit.run["notes"]
    assert fit.config["parameters"] > 0
    assert fit.config["model"]["student"]["init_args"]["prototypes"] == 4
    assert fit.config["environment"]["torch"]


def test_the_checkpoint_is_linked_to_the_cache_index(folder, fit, cache):
    index_sha256 = hashlib.sha256((cache / "index.json").read_bytes()).hexdigest()
    [(student, facts)] = metadata(fit, "model").items()
    assert student == f"student-{fit.run['run_id']}"
    assert facts["sha256"] == hashlib.sha256((folder / "checkpoints/best.ckpt").read_bytes()).hexdigest()
    assert facts["monitor"] == "val/f1_pseudo_mask"
    assert facts["score"] == pytest.approx(max(s["val/f1_pseudo_mask"] for s in fit.history if "val/loss" in s))
    assert facts["student"]["backbone"] == "mobilenetv3_small_050"
    [(name, of_index)] = metadata(fit, "pseudo-masks").items()
    assert facts["pseudo_masks"] == fit.config["pseudo_masks"] == {name: of_index}
    assert of_index["index_sha256"] == index_sha256
    record = json.loads((folder / "fit/fit.json").read_text())  # the same record without W&B
    assert record["pseudo_masks"][name]["index_sha256"] == index_sha256


def test_prototypes_are_sorted_by_usage(fit):
    shown = table(fit, "memory/prototypes")
    assert shown["columns"] == ["prototype", "share", "nearest", "cosine"]
    shares = [row[1] for row in shown["data"]]
    assert sorted(row[0] for row in shown["data"]) == [0, 1, 2, 3]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    drawn = {
        name: sorted(fit.folder.glob(f"files/media/images/memory/{name}_*.png")) for name in ("usage", "similarity")
    }
    assert [len(paths) for paths in drawn.values()] == [2, 2]  # one for each of two epochs
    last = np.asarray(Image.open(max(drawn["usage"], key=lambda path: path.stat().st_mtime))).astype(int)
    assert last.shape == (256, 256, 3)  # rows: four prototypes, columns: two validations
    brightness = last[32::64, 192].sum(1)
    assert brightness.argmax() == shown["data"][0][0]  # the prototype listed first in the table


def test_hardest_images_are_a_table_in_wandb_and_a_file_otherwise(folder, fit, tested):
    shown = table(fit, "val/worst")
    written = json.loads((folder / "worst/val-worst.json").read_text())["images"]
    assert [row[1:] for row in shown["data"]] == [list(facts.values()) for facts in written]
    f1 = [facts["f1_pseudo_mask"] for facts in written]
    assert f1 == sorted(f1)
    assert len(f1) == 7  # all manipulated ones of the val split

    scores = json.loads((folder / "test/scores.json").read_text())
    shown = table(tested, "test/worst")
    ordered = sorted(
        (row["f1"], row["image_id"])
        for row in scores["per_image"]
        if row["f1"] is not None and row["kind"] != "authentic"
    )
    f1_at = shown["columns"].index("f1")
    assert [row[f1_at] for row in shown["data"]] == [f1 for f1, _ in ordered]
    assert (folder / "worst/test-worst.png").exists()


def test_scores_of_test_sets_equal_scores_json(folder, tested):
    row = json.loads((folder / "test/scores.json").read_text())["sets"]["squares"]
    [logged] = [step for step in tested.history if "test/f1/squares" in step]
    for name in ("f1", "iou", "auc", "false_alarm_area"):
        assert logged[f"test/{name}/squares"] == pytest.approx(row[name])
    assert tested.config["checkpoint"] == str(folder / "checkpoints/best.ckpt")


def test_every_panel_of_the_workspace_shows_something(fit, tested):
    logged = {key for run in (fit, tested) for step in run.history for key in step}
    logged |= {"val/f1_pseudo_mask/squares", "val/f1_truth/squares"}  # only with several validation sets
    named = {
        metric
        for panels in CURVES.values()
        for found in panels.values()
        if not isinstance(found, str)
        for metric in found
    }
    assert named <= logged
    for pattern in [found for panels in CURVES.values() for found in panels.values() if isinstance(found, str)]:
        assert any(re.match(pattern, key) for key in logged), pattern
    shown = {key.split(".")[0] for key in logged}  # media and tables have keys such as NAME.path
    without_alarms = set().union(*MEDIA.values(), *TABLES.values()) - {"test/false_alarms"}  # this run has none
    assert without_alarms <= shown


def test_two_processes_log_one_run_with_the_same_values(folder, with_wandb, tmp_path, offline_runs, capsys):
    """Compares validation of the same weights."""
    config = with_wandb(tmp_path)
    words = ["validate", "--config", str(config), "--ckpt_path", str(folder / "checkpoints/last.ckpt")]
    assert main(words) == 0
    assert "gate_mean" not in capsys.readouterr().out  # the console output stays short
    command = command_words([*words, "--trainer.devices", "2", "--data.batch_size", "3"])
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr[-3000:]
    one, two = (
        {key: value for step in run.history for key, value in step.items() if key.startswith(("val/gate", "val/mem"))}
        for run in offline_runs(tmp_path)
    )
    assert one.keys() == two.keys()
    assert one == pytest.approx(two, abs=0.02)  # the second process repeats one of the seven images


def test_a_disabled_run_sends_nothing_nor_affects_the_next(wandb_offline, with_wandb, tmp_path, offline_runs):
    config = with_wandb(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        assert main(["fit", "--config", str(config), "--trainer.max_epochs", "1"]) == 0
    assert not (tmp_path / "wandb").exists()
    assert (tmp_path / "worst/val-worst.png").exists()
    assert main(["validate", "--config", str(config), "--ckpt_path", str(tmp_path / "checkpoints/last.ckpt")]) == 0
    assert len(offline_runs(tmp_path)) == 1
