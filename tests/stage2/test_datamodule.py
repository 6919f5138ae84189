"""Which samples a run trains, validates and tests on."""

import pytest

from boxpromptiml.cli import main
from boxpromptiml.manifest import ManifestError
from boxpromptiml.shards import CacheError
from stage2_distill.datamodule import PseudoMaskData


def test_splits_and_authentic_images(cache):
    for authentic, sizes in ((False, (23, 7)), (True, (24, 8))):
        data = PseudoMaskData([str(cache)], image_size=64, batch_size=5, workers=0, authentic=authentic)
        data.setup("fit")
        assert (len(data.train_set), len(data.val_set)) == sizes
        assert [len(batch["image"]) for batch in data.train_dataloader()] == [5] * (sizes[0] // 5)
        assert sum(len(batch["image"]) for batch in data.val_dataloader()) == sizes[1]


def test_several_caches_are_joined(cache):
    data = PseudoMaskData([str(cache), str(cache)], image_size=64, workers=0)
    data.setup("fit")
    assert len(data.train_set) == 46


def test_a_missing_cache_says_which_command_makes_it(tmp_path):
    with pytest.raises(CacheError, match=r"boxpromptiml pseudomasks"):
        PseudoMaskData([str(tmp_path)]).setup("fit")


def test_testing_without_a_test_set_says_what_to_add(cache):
    with pytest.raises(ManifestError, match=r"data.test_sets"):
        PseudoMaskData([str(cache)]).setup("test")


def test_the_command_line_says_it_in_one_line(tiny_config, tmp_path, capsys):
    code = main(["fit", "--config", str(tiny_config), "--data.caches", f"[{tmp_path / 'nowhere'}]"])
    assert code == 2
    assert "no cache here; make one with `boxpromptiml pseudomasks`" in capsys.readouterr().err
