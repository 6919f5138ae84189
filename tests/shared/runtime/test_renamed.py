"""Old names of classes and options are refused in one line with the new name."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from boxpromptiml.cli import main
from boxpromptiml.runtime.renamed import CLASSES, MODULES, PACKAGES, new_class_path, refuse_old_names

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
OLD = {
    "stage2_distill.loss.DistillationLoss": "stage2_distill.losses.distillation.DistillationLoss",
    "stage2_distill.student.Student": "stage2_distill.model.student.Student",
    "stage2_distill.callbacks.PicturePanels": "stage2_distill.callbacks.panels.PicturePanels",
    "stage2_distill.callbacks.RunRecord": "stage2_distill.callbacks.run_record.RunRecord",
    "boxpromptiml.check.findings.Limits": "boxpromptiml.datasets.check.findings.Limits",
}


@pytest.mark.parametrize(
    "module",  # in an order shared by all test processes
    sorted({*PACKAGES.values(), *MODULES.values(), *(path.rpartition(".")[0] for path in CLASSES.values())}),
)
def test_every_new_name_exists(module):
    assert find_spec(module)


def test_no_old_name_is_still_a_module_except_one_that_became_a_package():
    specs = {old: find_spec(old) for old in [*PACKAGES, *MODULES] if find_spec(old.rpartition(".")[0])}
    assert [old for old, spec in specs.items() if spec and spec.origin] == ["stage2_distill.callbacks"]


@pytest.mark.parametrize(("old", "new"), OLD.items())
def test_a_class_path_gets_its_new_name(old, new):
    assert new_class_path(old) == new


@pytest.mark.parametrize("current", [*OLD.values(), "lightning.pytorch.callbacks.ModelCheckpoint", "mine.loss.Loss"])
def test_other_class_paths_have_no_new_name(current):
    assert new_class_path(current) is None


def output(capsys, *words):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("joined", [False, True])
def test_an_old_config_is_refused_in_one_line_with_the_new_name(tmp_path, capsys, joined):
    config = yaml.safe_load((CONFIGS / "demo.yaml").read_text())
    config["model"]["loss"]["class_path"] = "stage2_distill.loss.DistillationLoss"
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(config))
    line = output(capsys, "fit", *([f"--config={path}"] if joined else ["--config", str(path)]))
    assert line == (
        f"boxpromptiml fit: {path}: stage2_distill.loss.DistillationLoss is now called "
        "stage2_distill.losses.distillation.DistillationLoss; use that instead"
    )


def test_an_old_name_in_a_base_is_refused_too(tmp_path, capsys):
    base = tmp_path / "base.yaml"
    base.write_text("model: {loss: {class_path: stage2_distill.loss.DistillationLoss}}")
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: {base}")
    line = output(capsys, "fit", "--config", str(path))
    assert f"{base}: stage2_distill.loss.DistillationLoss is now called" in line


def test_an_old_name_on_the_command_line_is_refused_too(capsys):
    line = output(capsys, "fit", "--model.loss=stage2_distill.loss.DistillationLoss")
    assert "the command: stage2_distill.loss.DistillationLoss is now called stage2_distill.losses" in line


def test_an_old_option_is_refused_with_its_new_name(tmp_path, capsys):
    assert "--rank is now called --select_by" in output(capsys, "pseudomasks", "--rank", "quality")
    path = tmp_path / "old.yaml"
    path.write_text("rank: quality")
    assert f"{path}: rank is now called select_by" in output(capsys, "pseudomasks", "--config", str(path))


def test_an_old_argument_of_the_loss_is_refused_with_its_new_name(tmp_path, capsys):
    old, new = "model.loss.init_args.margin", "model.loss.init_args.tightness_margin"
    assert f"--{old} is now called --{new}" in output(capsys, "fit", f"--{old}=0.1")
    path = tmp_path / "old.yaml"
    path.write_text("model: {loss: {init_args: {margin: 0.1}}}")
    assert f"{path}: {old} is now called {new}" in output(capsys, "test", "--config", str(path))


def test_arguments_of_third_party_classes_are_not_checked(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {loss: {class_path: mine.Loss, init_args: {margin: 0.1}}}")
    refuse_old_names(["fit", "--config", str(path)])


def test_a_comment_may_contain_an_old_name(tmp_path):
    path = tmp_path / "new.yaml"
    path.write_text("# was stage2_distill.loss.DistillationLoss\nbackbone: mobilenetv3_small_050\nimage_size: 64\n")
    assert main(["complexity", "--config", str(path)]) == 0
