from dataclasses import replace

import pytest

from boxpromptiml.apps.ablation.plan import Study, Variant, commands, plan, shell_line
from boxpromptiml.core.records import InputError


def test_a_variant_that_two_studies_share_is_trained_once(studies, base, tmp_path):
    runs = plan(studies, [0, 1], base, {}, "", tmp_path)
    assert len(runs) == 8
    assert len({run.folder for run in runs.values()}) == 6
    shared = runs["alpha", "0.5", 1]
    assert shared is runs["components", "complete", 1]
    assert shared.shared_by == ("components", "alpha")
    assert shared.folder == tmp_path / "components/complete/seed-1"


def test_options_of_a_variant_override_those_of_all_runs(studies, base, tmp_path):
    overlay = tmp_path / "over.yaml"
    overlay.write_text("model: {}\n")
    variant = Variant({"model.alpha": 0.3, "data.caches": ["a b"]}, overlay)
    study = Study("?", {"it": variant}, "it")
    run = plan({"one": study}, [4], base, {"model.alpha": 0.5, "trainer.max_epochs": 2}, "", tmp_path)["one", "it", 4]
    fit, test = commands(run)
    assert shell_line(fit) == (
        f"boxpromptiml fit --config {base} --config {overlay} --trainer.default_root_dir {tmp_path}/one/it/seed-4 "
        "--seed_everything 4 --model.alpha 0.3 --trainer.max_epochs 2 --data.caches '[\"a b\"]'"
    )
    assert test[0] == "test"
    assert test[-2:] == ["--ckpt_path", f"{tmp_path}/one/it/seed-4/fit/checkpoints/best.ckpt"]


def test_an_interrupted_run_resumes_and_a_finished_one_does_not(studies, base, tmp_path):
    run = plan(studies, [0], base, {}, "", tmp_path)["alpha", "0.7", 0]
    (run.folder / "fit/checkpoints").mkdir(parents=True)
    (run.folder / "fit/checkpoints/last.ckpt").touch()
    assert commands(run)[0][-2:] == ["--ckpt_path", "last"]
    (run.folder / "fit/fit.json").touch()
    assert [words[0] for words in commands(run)] == ["test"]


def test_settings_depend_on_the_content_of_configs_and_inputs(studies, base, tmp_path):
    def settings(made=""):
        return plan(studies, [0], base, {}, made, tmp_path)["alpha", "0.7", 0].settings

    before = settings()
    assert settings() == before
    assert settings("other inputs") != before
    (shared := tmp_path / "shared.yaml").write_text("model: {lr: 1}\n")
    base.write_text(f"base: {shared}\ntrainer: {{max_epochs: 3}}\n")
    assert (changed := settings()) != before
    shared.write_text("model: {lr: 2}\n")
    assert settings() != changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference": "nothing"}, "no variant 'nothing'.*complete, without memory"),
        ({"axis": "α"}, "'complete' is not a number.*axis"),
    ],
)
def test_an_invalid_study_is_refused(studies, base, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        plan({"it": replace(studies["components"], **change)}, [0], base, {}, "", tmp_path)


def test_a_missing_config_is_named(studies, tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such config"):
        plan(studies, [0], tmp_path / "nowhere.yaml", {}, "", tmp_path)


@pytest.mark.parametrize(("first", "second"), [("+ memory", "− memory"), ("A", "a"), ("0.5", "-0.5")])
def test_variants_that_would_share_a_folder_are_refused(base, tmp_path, first, second):
    study = Study("?", {first: Variant(), second: Variant({"a": 1})}, first)
    with pytest.raises(InputError, match=r"would be written to the same folder .*it.* rename one"):
        plan({"it": study}, [0], base, {}, "", tmp_path)


def test_variants_may_be_named_by_numbers(base, tmp_path):
    study = Study("?", {0.3: Variant({"a": 1}), 0.5: Variant()}, "0.5", axis="α")
    assert {label for _, label, _ in plan({"it": study}, [0], base, {}, "", tmp_path)} == {"0.3", "0.5"}
