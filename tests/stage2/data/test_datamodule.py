"""Selection of samples for training, validation and test."""

import json
import shutil

import numpy as np
import pytest

from boxpromptiml.cli import main
from boxpromptiml.core.records import InputError
from boxpromptiml.manifests.manifest import ManifestError
from boxpromptiml.shards import CacheError
from stage2_distill.data.datamodule import PseudoMaskData


def test_splits_and_authentic_images(cache):
    for authentic, sizes in ((False, (23, 7)), (True, (24, 8))):
        data = PseudoMaskData([str(cache)], image_size=64, batch_size=5, workers=0, authentic=authentic)
        data.setup("fit")
        assert (len(data.train_set), len(data.val_set)) == sizes
        assert [len(batch["image"]) for batch in data.train_dataloader()] == [5] * (sizes[0] // 5)
        assert sum(len(batch["image"]) for batch in data.val_dataloader()) == sizes[1]


def test_several_caches_are_joined(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "other")
    data = PseudoMaskData([str(cache), str(tmp_path / "other")], image_size=64, workers=0)
    data.setup("fit")
    assert len(data.train_set) == 46


def test_a_cache_given_twice_counts_once(cache):
    for stage in ("fit", "validate"):  # `calibrate` uses the stage "validate" too
        with pytest.raises(CacheError, match=r"listed twice.* list it once"):
            PseudoMaskData([str(cache), f"{cache}/../{cache.name}"], image_size=64).setup(stage)


@pytest.mark.parametrize(("size", "remarks"), [(64, 0), (96, 1)])
def test_enlarged_images_are_reported(cache, capsys, size, remarks):
    PseudoMaskData([str(cache)], image_size=size, workers=0).setup("fit")
    assert capsys.readouterr().out.count(f"are enlarged to the student's {size}") == remarks


def test_confidence_weights_apply_to_training_samples_only(cache):
    data = PseudoMaskData([str(cache)], image_size=64, workers=0, confidence_power=0.5)
    data.setup("fit")
    assert (data.train_set.confidence_power, data.val_set.confidence_power) == (0.5, 0.0)


def test_source_weights_determine_the_draws_of_an_epoch(cache, made_squares, capsys):
    data = PseudoMaskData(
        [str(cache)],
        streams=[made_squares(100)],
        source_weights={"made": 0.25},
        epoch_size=20,
        image_size=64,
        batch_size=5,
        workers=0,
    )
    data.setup("fit")
    made = [p >= 23 for batch in data.train_dataloader() for p in batch["position"].tolist()]
    assert (len(made), sum(made)) == (20, 5)
    assert "made                      75   25.0%" in capsys.readouterr().out


def test_a_stream_can_be_added_on_the_command_line(tiny_config, tmp_path, capsys):
    folder = str(tmp_path / "forgeries")
    sizes = ["--train", "4", "--val", "1", "--test", "1", "--size", "64", "--workers", "1"]
    assert main(["synthesize", "--out", folder, "--stream_train", "true", *sizes]) == 0
    stream = {
        "class_path": "boxpromptiml.synthesis.stream.ForgeryStream",
        "init_args": {"folder": folder, "length": 50},
    }
    words = ["--data.streams", json.dumps([stream]), "--data.source_weights", '{"stream": 0.5}']
    assert main(["fit", "--config", str(tiny_config), *words, "--data.epoch_size", "6"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines() if "50.0%" in line] == ["50.0%"] * 2


def test_a_weight_for_an_unknown_source_is_refused_listing_the_sources(cache):
    data = PseudoMaskData([str(cache)], source_weights={"casia2": 0.5})
    with pytest.raises(InputError, match=r"has casia2, but the training samples come from: squares"):
        data.setup("fit")


def test_validation_can_use_other_caches_than_training(cache, tmp_path):
    nowhere = [str(tmp_path / "not made yet")]
    data = PseudoMaskData(nowhere, val_sets={"one": str(cache), "two": [str(cache), str(cache)]}, workers=0)
    data.setup("validate")
    assert data.val_set.sources == ["one", "two"]
    assert np.bincount(data.val_set.source_of).tolist() == [7, 14]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"caches": [], "val_sets": {"a": "CACHE"}}, r"no cache for the train split; set data\.caches"),
        ({"caches": ["CACHE"], "val_sets": {"a": "CACHE", "b": []}}, r"no cache for the val split.* data\.val_sets"),
        ({"caches": ["CACHE"], "epoch_size": -5}, "epoch_size is -5"),
    ],
)
def test_a_configuration_without_samples_says_what_to_add(cache, arguments, words):
    given = json.loads(json.dumps(arguments).replace("CACHE", str(cache)))
    with pytest.raises(InputError, match=words):
        PseudoMaskData(**given).setup("fit")


def test_a_missing_cache_is_refused_naming_the_command_that_makes_it(tmp_path):
    with pytest.raises(CacheError, match=r"boxpromptiml pseudomasks"):
        PseudoMaskData([str(tmp_path)]).setup("fit")


def test_testing_without_a_test_set_says_what_to_add(cache):
    with pytest.raises(ManifestError, match=r"data.test_sets"):
        PseudoMaskData([str(cache)]).setup("test")


def test_invalid_manifest_entries_are_named(cache, test_manifest, tmp_path):
    content = json.loads(test_manifest.read_text()) | {"info": {"image_root": str(test_manifest.parent)}}
    content["images"][0]["width"] = -1
    (tmp_path / "wrong.json").write_text(json.dumps(content))
    for manifest, count in ((test_manifest, 0), (tmp_path / "wrong.json", 1)):
        data = PseudoMaskData([str(cache)], test_sets={"squares": str(manifest)})
        data.setup("test")
        assert len(data.unusable["squares"]) == count
        assert len(data.test_records["squares"]) == 6 - count


def test_the_command_line_reports_it_in_one_line(tiny_config, tmp_path, capsys):
    code = main(["fit", "--config", str(tiny_config), "--data.caches", f"[{tmp_path / 'nowhere'}]"])
    assert code == 2
    assert "no cache in this folder; make one with `boxpromptiml pseudomasks`" in capsys.readouterr().err
