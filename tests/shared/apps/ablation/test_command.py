import json
import shlex
from pathlib import Path

import pytest

from boxpromptiml.apps.ablation.command import ablation
from boxpromptiml.cli import main
from boxpromptiml.core.records import InputError

CONFIGS = Path(__file__).resolve().parents[4] / "configs"


@pytest.mark.parametrize("profile", ["demo", "full"])
def test_the_studies_of_the_paper_are_planned(profile, monkeypatch, capsys):
    monkeypatch.chdir(CONFIGS.parent)
    assert main(["ablation", "--config", f"configs/studies/{profile}.yaml", "--dry_run", "true"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("boxpromptiml ") for line in lines)
    runs = [line for line in lines if line.startswith("boxpromptiml fit ")]
    assert len(runs) == len(set(runs)) == 39
    assert all(" && boxpromptiml test " in line for line in runs)
    assert len([line for line in runs if "model.student.init_args.alpha" in line.split("&&")[0]]) == 6
    assert len([line for line in runs if "configs/ablation/" in line]) == 9


@pytest.mark.parametrize(("study", "count"), [("recipe", 33), ("recipe_hard", 18)])
def test_the_studies_of_the_recipe_give_every_variant_the_same_data_and_steps(study, count, monkeypatch, capsys):
    monkeypatch.chdir(CONFIGS.parent)
    assert main(["ablation", "--config", f"configs/studies/{study}.yaml", "--dry_run", "true"]) == 0
    runs = [line for line in capsys.readouterr().out.splitlines() if " && boxpromptiml test " in line]
    assert len(runs) == count
    assert all("--data.epoch_size 3840" in line and "--trainer.max_epochs 1 " in line for line in runs)
    assert len([line for line in runs if "start-forensic" in line]) == 6


def test_the_study_of_real_forgeries_trains_shared_variants_once(monkeypatch, capsys):
    monkeypatch.chdir(CONFIGS.parent)
    assert main(["ablation", "--config", "configs/studies/real.yaml", "--dry_run", "true"]) == 0
    runs = [line for line in capsys.readouterr().out.splitlines() if " && boxpromptiml test " in line]
    assert len(runs) == 3 * (4 + 3 + 4 + 1 + 3 + 7)
    assert len([line for line in runs if "ForgeryStream" in line]) == len(runs) - 3 * 4


def test_a_class_in_an_option_is_passed_on_and_not_created(base, tmp_path, capsys):
    spec = {"class_path": "boxpromptiml.synthesis.recipe.Traces", "init_args": {"jpeg": 0.5}}
    studies = {"streams": {"question": "?", "reference": "one", "variants": {"one": {"options": {"data.one": spec}}}}}
    config = tmp_path / "study.yaml"
    options = {"data.streams": [spec], "trainer.max_epochs": 2, "model.lr": 0.1, "data.authentic": True}
    config.write_text(json.dumps({"base": str(base), "out": "runs", "options": options, "studies": studies}))
    assert main(["ablation", "--config", str(config), "--dry_run", "true", "--seeds", "[0]"]) == 0
    fit = shlex.split(capsys.readouterr().out.split(" && ")[0])
    passed = {name: fit[fit.index(f"--{name}") + 1] for name in ("data.streams", "data.one")}
    assert {name: json.loads(value) for name, value in passed.items()} == {"data.streams": [spec], "data.one": spec}
    assert " ".join(fit).count("--trainer.max_epochs 2 --model.lr 0.1 --data.authentic true") == 1


def test_an_unknown_study_and_an_empty_list_of_seeds_are_refused(studies, base, tmp_path):
    with pytest.raises(InputError, match="no study beta; the config has components, alpha"):
        ablation(base, tmp_path, studies, only=["beta"])
    with pytest.raises(InputError, match="needs at least one seed"):
        ablation(base, tmp_path, studies, seeds=[])


def test_failed_runs_set_the_exit_code_and_leave_tables_of_the_others(studies, base, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("boxpromptiml.apps.ablation.training.command_words", lambda words: ["false"])
    assert ablation(base, tmp_path / "out", studies, seeds=[0], only=["alpha"]) == 3
    output = capsys.readouterr().out
    assert "Not finished: 0.5, 0.7." in output
    assert "`fit` exited with 1" in output
    assert json.loads((tmp_path / "out/ablation.json").read_text())["studies"]["alpha"]["rows"] == []
