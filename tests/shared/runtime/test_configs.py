"""Packaged configurations are found by the names used in the documentation, in any working folder."""

from pathlib import Path

import pytest
import yaml

from boxpromptiml.cli import main
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.configs import found, packaged_folder, with_base_configs, with_packaged_paths

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_packaged_config_is_found_in_any_folder():
    assert found(Path("configs/demo.yaml")) == packaged_folder() / "demo.yaml"
    assert found(Path("configs/studies/demo.yaml")).read_text() == (ROOT / "configs/studies/demo.yaml").read_text()


def test_a_file_in_the_current_folder_takes_precedence(elsewhere):
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs/demo.yaml").write_text("mine: true")
    assert found(Path("configs/demo.yaml")) == Path("configs/demo.yaml")
    assert found(Path("configs/full.yaml")) == packaged_folder() / "full.yaml"


@pytest.mark.parametrize(
    "name", ["demo.yaml", "configs/none.yaml", "configs", "/configs/demo.yaml", "a/configs/demo.yaml"]
)
def test_other_paths_are_unchanged(name):
    assert found(Path(name)) == Path(name)


def test_in_a_command_only_values_of_config_are_resolved():
    packaged = str(packaged_folder() / "demo.yaml")
    words = ["fit", "--config", "configs/demo.yaml", "--config=configs/demo.yaml", "--out", "configs/demo.yaml"]
    resolved = ["fit", "--config", packaged, f"--config={packaged}", "--out", "configs/demo.yaml"]
    assert with_packaged_paths(words) == resolved
    assert with_packaged_paths(["--config"]) == ["--config"]


def test_a_tool_reads_a_packaged_config_outside_the_checkout(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["synthesize", "--config", "configs/synthesis/plain.yaml", "--print_config"])
    assert stopped.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["out"] == "data/plain"


def test_a_study_finds_its_configurations(capsys):
    assert main(["ablation", "--config", "configs/studies/demo.yaml", "--dry_run", "true"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("--config configs/base/scratch.yaml" in line for line in lines)  # printed as the user would type them


def test_all_configs_are_listed_with_their_purpose(capsys):
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(len(line.split()) > 4 for line in lines)


def test_selected_configs_are_copied_for_editing(elsewhere, capsys):
    assert main(["configs", "--names", "[configs/demo.yaml, configs/studies]", "--out", "."]) == 0
    studies = sorted(Path("configs/studies") / path.name for path in (ROOT / "configs/studies").iterdir())
    assert sorted(Path("configs").rglob("*.yaml")) == [Path("configs/demo.yaml"), *studies]
    assert found(Path("configs/demo.yaml")) == Path("configs/demo.yaml")
    Path("configs/demo.yaml").write_text("mine: true")
    assert main(["configs", "--names", "[demo.yaml]", "--out", "."]) == 0
    assert "not changed" in capsys.readouterr().out
    assert Path("configs/demo.yaml").read_text() == "mine: true"


def test_an_unknown_name_is_refused(capsys):
    assert main(["configs", "--names", "[configs/nonsense.yaml]"]) == 2
    assert "nonsense.yaml; `boxpromptiml configs` lists them" in capsys.readouterr().err


def test_a_base_is_read_before_the_config_that_names_it(elsewhere):
    for name, base in {"a": None, "b": "a.yaml", "c": "b.yaml"}.items():
        (elsewhere / f"{name}.yaml").write_text(f"base: {base}\nseed: 0" if base else "seed: 1")
    assert with_base_configs(["fit", "--config", "c.yaml", "--lr", "1"]) == [
        *("fit", "--config", "a.yaml", "--config", "b.yaml", "--config", "c.yaml", "--lr", "1")
    ]
    assert with_base_configs(["fit", "--config=b.yaml", "--config", "a.yaml"]) == [
        *("fit", "--config=a.yaml", "--config=b.yaml", "--config", "a.yaml")
    ]


def test_a_packaged_base_is_found_in_any_folder(elsewhere):
    (elsewhere / "mine.yaml").write_text("base: configs/best.yaml")
    files = with_base_configs(["fit", "--config", "mine.yaml"])[2::2]
    assert [Path(file).name for file in files] == ["training.yaml", "full.yaml", "best.yaml", "mine.yaml"]


@pytest.mark.parametrize("content", ["- 1", "a: [", "base: 3", "base:", "", "\0"])
def test_a_config_without_a_base_is_left_to_the_parser(elsewhere, content):
    (elsewhere / "a.yaml").write_text(content)
    assert with_base_configs(["fit", "--config", "a.yaml", "--config", "none.yaml"])[1::2] == ["--config", "--config"]


def test_an_unreadable_base_is_refused_in_one_line(elsewhere):
    (elsewhere / "a.yaml").write_text("base: b.yaml")
    with pytest.raises(InputError, match=r"a\.yaml: its base b\.yaml does not exist"):
        with_base_configs(["fit", "--config", "a.yaml"])
    (elsewhere / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(InputError, match="is its own base"):
        with_base_configs(["fit", "--config", "a.yaml"])
