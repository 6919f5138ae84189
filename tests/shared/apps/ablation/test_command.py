import json
import shlex
from pathlib import Path

import pytest

from boxpromptiml.apps.ablation.command import ablation
from boxpromptiml.apps.run_results import StudyRows
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


@pytest.mark.parametrize(
    "value",
    [
        {"class_path": "boxpromptiml.synthesis.recipe.Traces", "init_args": {"jpeg": 0.5}},
        [{"class_path": "boxpromptiml.synthesis.recipe.Traces"}],
        {"deeper": [{"class_path": "boxpromptiml.synthesis.recipe.Traces", "init_args": {}}]},
        [[1, 2.5], None, True],
    ],
)
def test_values_of_options_are_passed_on_as_they_are(base, tmp_path, capsys, value):
    """A class that an option names is not created here."""
    studies = {2016: {"question": "?", "reference": "one", "variants": {"one": {"options": {"data.one": value}}}}}
    config, options = tmp_path / "study.yaml", {"data.all": value, "trainer.max_epochs": 2, "model.lr": 0.1, "x": "1"}
    config.write_text(json.dumps({"base": str(base), "out": "runs", "options": options, "studies": studies}))
    assert main(["ablation", "--config", str(config), "--dry_run", "true", "--seeds", "[0]"]) == 0
    fit = shlex.split(capsys.readouterr().out.split(" && ")[0])
    passed = [fit[fit.index(f"--{name}") + 1] for name in ("data.all", "data.one")]
    assert [json.loads(each) for each in passed] == [value, value]
    assert " ".join(fit).count("--trainer.max_epochs 2 --model.lr 0.1 --x 1") == 1


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


def test_one_study_uses_the_same_runs_as_all_and_keeps_the_tables_of_the_others(studies, base, tmp_path, capsys):
    def planned(**options):
        assert ablation(base, tmp_path / "out", studies, seeds=[0], dry_run=True, **options) == 0
        return set(capsys.readouterr().out.splitlines())

    assert planned(only=["alpha"]) < planned()
    assert len(planned(only=["alpha"])) == 2


def test_tables_show_finished_runs_of_studies_that_were_not_chosen(studies, base, tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr("boxpromptiml.apps.ablation.command.train_and_test", lambda runs, jobs: [])
    monkeypatch.setattr("boxpromptiml.apps.ablation.command.is_complete", lambda run: run.study == "components")
    rows = "boxpromptiml.apps.ablation.command.study_rows"
    monkeypatch.setattr(rows, lambda study, files: shown.update({study.question: files}) or StudyRows("?", "?", []))
    assert ablation(base, tmp_path / "out", studies, seeds=[0, 1], only=["alpha"]) == 0
    assert {label: len(files) for label, files in shown["Which parts?"].items()} == {"complete": 2, "without memory": 2}
    assert {label: len(files) for label, files in shown["How much?"].items()} == {"0.5": 2, "0.7": 0}
