"""Agreement with teacher and ground truth per validation set, against scikit-learn and over two processes."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from sklearn.metrics import f1_score, jaccard_score

from boxpromptiml.cli import main
from boxpromptiml.core.records import Stamp
from boxpromptiml.shards import SCHEMA, ShardReader, write_index, write_shard
from stage2_distill.evaluation.agreement import TeacherAgreement, averages, by_set, empty_truths, summarize, table

SETS, SET_OF = ["a", "b"], np.array([0, 1, 0, 1, 0])


@pytest.fixture
def scored():
    """Five images of two sets: the third has no ground truth, the last is authentic."""
    pseudo_mask, truth, probability = torch.rand(3, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    box_mask = torch.ones(5, 1, 8, 8)
    box_mask[4] = 0
    batch = {
        "pseudo_mask": pseudo_mask,
        "truth": (truth > 0.5).float(),
        "has_truth": torch.tensor([True, True, False, True, True]),
        "box_mask": box_mask,
        "position": torch.arange(5),
    }
    return batch, probability


def part(batch, chosen):
    return {name: values[chosen] for name, values in batch.items()}


def test_scores_of_each_image_equal_scikit_learn(scored):
    batch, probability = scored
    agreement = TeacherAgreement()
    agreement.update(batch, probability)
    rows = agreement.compute().numpy()
    for i, row in enumerate(rows[:4]):
        predicted, teacher, truth = (
            (values[i] > 0.5).numpy().ravel() for values in (probability, batch["pseudo_mask"], batch["truth"])
        )
        assert row[1:3] == pytest.approx([f1_score(teacher, predicted), jaccard_score(teacher, predicted)])
        if i != 2:
            assert row[3:] == pytest.approx([f1_score(truth, predicted), jaccard_score(truth, predicted)])
    assert np.isnan(rows[2, 3:]).all()
    assert np.isnan(rows[4, 1:]).all()


def test_an_empty_ground_truth_of_a_manipulated_image_is_not_scored(scored):
    batch, probability = scored
    batch["truth"][1] = 0
    agreement = TeacherAgreement()
    agreement.update(batch, probability)
    rows = agreement.compute().numpy()
    assert np.isnan(rows[1, 3:]).all()
    assert not np.isnan(rows[1, 1:3]).any()


def test_images_with_empty_ground_truth_are_named(scored, cache):
    batch, probability = scored
    batch["truth"][1] = 0
    agreement = TeacherAgreement()
    agreement.update(batch, probability)
    stored = [sample for sample in ShardReader(cache) if sample.truth is not None and not sample.authentic]
    without = dataclasses.replace(stored[2], truth=None)
    samples = [stored[0], stored[1], without, stored[3], stored[4]]
    dataset = SimpleNamespace(sources=SETS, source_of=SET_OF, sample=samples.__getitem__)
    assert empty_truths(agreement.compute().numpy(), dataset) == [f"image {stored[1].image_id} of b: it is empty"]


def test_the_mean_is_over_images_of_each_set(scored):
    agreement = TeacherAgreement()
    agreement.update(*scored)
    rows = agreement.compute().numpy()
    found = averages(rows, SETS, SET_OF)
    assert found["f1_pseudo_mask"] == pytest.approx(rows[:4, 1].mean())
    assert found["f1_pseudo_mask/a"] == pytest.approx(rows[[0, 2], 1].mean())
    assert found["iou_truth/b"] == pytest.approx(rows[[1, 3], 4].mean())
    assert set(averages(rows, ["a"], np.zeros(5, int))) == {
        "f1_pseudo_mask",
        "iou_pseudo_mask",
        "f1_truth",
        "iou_truth",
    }
    assert by_set(rows, SETS, SET_OF)["a"]["f1_truth"] == pytest.approx(rows[[0, 2, 4], 3], nan_ok=True)
    summary = summarize(rows, SETS, SET_OF)
    assert (summary["a"]["images"], summary["b"]["images"]) == (2, 2)
    assert summary["b"]["f1_truth_ci_low"] <= summary["b"]["f1_truth"] <= summary["b"]["f1_truth_ci_high"]


def test_a_set_without_ground_truth_has_no_score(scored):
    agreement = TeacherAgreement()
    agreement.update(*scored)
    rows, set_of = agreement.compute().numpy(), np.array([0, 0, 1, 0, 2])
    found = averages(rows, ["truth", "none", "authentic"], set_of)
    assert "f1_pseudo_mask/none" in found
    assert not {"f1_truth/none", "f1_pseudo_mask/authentic"} & set(found)
    lines = table(summarize(rows, ["truth", "none", "authentic"], set_of)).splitlines()
    assert [line.count("–") for line in lines] == [0, 0, 3, 7]


def _rows_on_two_processes(fabric, batch, probability):
    agreement = TeacherAgreement()
    mine = slice(0, 3) if fabric.global_rank == 0 else slice(2, None)  # one image occurs twice, since samplers pad
    agreement.update(part(batch, mine), probability[mine])
    return agreement.compute().numpy()  # a tensor's shared memory ends with its process


def test_two_processes_count_every_image_once(scored):
    alone = TeacherAgreement()
    alone.update(*scored)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    together = fabric.launch(_rows_on_two_processes, *scored)
    np.testing.assert_allclose(together, alone.compute().numpy())


def test_every_named_set_has_its_row_in_curves_table_and_file(tiny_config, tmp_path, cache, capsys):
    sets = ["--data.val_sets", json.dumps({"one": str(cache), "two": [str(cache), str(cache)]})]
    once = ["--config", str(tiny_config), "--trainer.max_epochs", "1"]
    assert main(["fit", *once, *sets]) == 0
    assert not (tmp_path / "validate").exists()
    with next(tmp_path.glob("fit/version_0/metrics.csv")).open() as stream:
        logged = [row for row in csv.DictReader(stream) if row["val/f1_pseudo_mask"]][-1]
    assert logged["val/f1_pseudo_mask/one"] == logged["val/f1_pseudo_mask/two"] == logged["val/f1_pseudo_mask"]

    capsys.readouterr()
    assert main(["validate", *once, *sets, "--ckpt_path", str(tmp_path / "checkpoints/last.ckpt")]) == 0
    written = json.loads((tmp_path / "validate/agreement.json").read_text())
    assert {name: row["images"] for name, row in written["sets"].items()} == {"one": 7, "two": 14}
    assert written["all"]["f1_pseudo_mask"] == pytest.approx(float(logged["val/f1_pseudo_mask"]), abs=1e-5)
    assert written["checkpoint"].endswith("last.ckpt")
    printed = capsys.readouterr().out
    for name, images in (("one", 7), ("two", 14), ("all images", 21)):
        assert any(
            line.startswith(name) and line[len(name) :].split()[0] == str(images) for line in printed.splitlines()
        )


def test_the_exit_code_reports_empty_ground_truth(fitted_config, cache, tmp_path, capsys):
    samples = list(ShardReader(cache))
    lost = next(i for i, each in enumerate(samples) if each.split == "val" and each.truth is not None)
    samples[lost] = dataclasses.replace(samples[lost], truth=samples[lost].truth * 0)
    stamp = Stamp(SCHEMA, 64, "none", "", "0", "0")
    write_shard(tmp_path / "cache/shard-000-00000.h5", samples, [], stamp)
    write_index(tmp_path / "cache", stamp)
    words = ["validate", "--config", str(fitted_config), "--overwrite", "true"]
    words += ["--ckpt_path", str(fitted_config.parent / "checkpoints/best.ckpt")]
    assert main([*words, "--data.val_sets", json.dumps({"odd": str(tmp_path / "cache")})]) == 3
    assert f"not scored against ground truth: image {samples[lost].image_id} of odd" in capsys.readouterr().out
    assert main(words) == 0
