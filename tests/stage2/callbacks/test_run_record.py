"""The record of a training run in ``fit.json``."""

import json

from boxpromptiml.cli import main


def test_the_record_includes_the_seconds_of_an_interrupted_run(tiny_config, tmp_path):
    main(["fit", "--config", str(tiny_config), "--trainer.max_epochs", "1"])
    record = tmp_path / "fit/fit.json"
    before = json.loads(record.read_text())
    main(["fit", "--config", str(tiny_config), "--trainer.max_epochs", "2", "--ckpt_path", "last"])
    after = json.loads(record.read_text())
    assert (before["epochs"], after["epochs"]) == (1, 2)
    assert after["seconds_fit"] > before["seconds_fit"] * 0.5
    assert after["draws_per_epoch"] == 23
    assert after["sources"] == {"squares": {"images": 23, "share_of_draws": 1.0}}
    assert after["parameters"] > 0
    assert after["macs"] > 0
    assert after["environment"]["torch"]
