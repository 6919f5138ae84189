"""An ablation with real students; planning and tables have their own tests."""

import json
from pathlib import Path

from boxpromptiml.apps.ablation.command import ablation
from boxpromptiml.apps.ablation.plan import Study, Variant

ROOT = Path(__file__).resolve().parents[2]


def test_two_variants_are_trained_tested_and_compared(cache, test_manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    student = {"backbone": "mobilenetv3_small_050", "pretrained": False, "channels": 16, "prototypes": 4}
    options = {f"model.student.init_args.{name}": value for name, value in student.items()} | {
        "data.caches": [str(cache)],
        "data.test_sets": {"squares": str(test_manifest)},
        "data.image_size": 64,
        "data.workers": 0,
        "trainer.max_epochs": 1,
    }
    variants = {"without memory": Variant(overlay=Path("configs/ablation/without_memory.yaml")), "complete": Variant()}
    study = Study("What is memory worth?", variants, "complete")
    out = tmp_path / "out"
    assert ablation(Path("configs/demo.yaml"), out, {"memory": study}, [0], options, jobs=2) == 3
    assert capsys.readouterr().out.count("`test` skipped photos") == 2  # one photo is an empty file
    rows = json.loads((out / "ablation.json").read_text())["studies"]["memory"]["rows"]
    assert {(row["variant"], row["images"]) for row in rows} == {("without memory", 4), ("complete", 4)}
    assert (out / "memory.png").stat().st_size > 1000
    trained = json.loads((out / "runs/memory/without-memory/seed-0/fit/fit.json").read_text())
    assert trained["student"]["memory"] is False
