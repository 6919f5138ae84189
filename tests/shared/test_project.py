"""Project-wide conventions that no single module can test."""

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("src/boxpromptiml", "stage1_pseudomask", "stage2_distill")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = {"src/boxpromptiml": "shared", "stage1_pseudomask": "stage1", "stage2_distill": "stage2"}
UNTELLING = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "temp", "base"}
DECLARATIONS = {"__init__", "records", "arrays", "errors"}
"""Modules of types and constants, which need no tests."""
HOOKS = (
    "stage2_distill/trainer_cli.py",
    "src/boxpromptiml/runtime/flags.py",
    "src/boxpromptiml/runtime/limits_in_help.py",
)
"""Modules whose overridden methods forward arguments that depend on the version of Lightning or jsonargparse."""
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def make(*arguments, root=ROOT):
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=alone)


def test_imports_respect_the_layers():
    answer = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout


def test_make_without_a_target_explains_every_target():
    declared = set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE).group(1).split())
    explained = {line.split()[1] for line in make().stdout.splitlines() if line.startswith("  make ")}
    assert explained == declared
    assert {"setup", "demo", "test", "lint", "pseudomasks", "fit", "ablation", "clean"} <= declared


@pytest.mark.parametrize("target", ["pseudomasks", "fit", "ablation", "robustness"])
def test_make_without_data_points_to_the_demo(target):
    answer = make(target, "PROFILE=")
    assert answer.returncode != 0
    assert f"make {target} PROFILE=demo" in answer.stderr


@pytest.fixture
def rehearsal(tmp_path):
    """The Makefile with a stub of boxpromptiml that records its command and creates the output files."""
    leaves = {
        "synthesize*unseen": "unseen/manifest.json",
        "synthesize": "data/manifest.json",
        "pseudomasks": "pseudomasks/index.json",
        "audit": "pseudomasks/audit.json",
        "fit": "fit/fit.json",
        "test": "test/scores.json",
        "predict": "predictions/predictions.json",
        "report": "report.html",
    }
    script = ["#!/bin/sh", 'echo "$1" >> commands', 'case "$*" in']
    script += [
        f"{word}*) mkdir -p runs/demo/{Path(file).parent}; touch runs/demo/{file};;" for word, file in leaves.items()
    ]
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/boxpromptiml").write_text("\n".join([*script, "esac"]))
    (tmp_path / ".venv/bin/boxpromptiml").chmod(0o755)
    for name in ("demo.yaml", "synthesis/demo.yaml", "synthesis/demo_unseen.yaml", "pseudomasks/demo.yaml"):
        (tmp_path / "configs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "configs" / name).touch()
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for name in ("pyproject.toml", ".venv/.installed"):
        (tmp_path / name).touch()

    def commands(*arguments):
        (tmp_path / "commands").unlink(missing_ok=True)
        answer = make(*arguments, root=tmp_path)
        assert answer.returncode == 0, answer.stderr
        return (tmp_path / "commands").read_text().split()

    commands.root = tmp_path
    return commands


def test_make_demo_runs_every_step_once_and_in_order(rehearsal):
    steps = rehearsal("demo")
    assert set(steps) == {"synthesize", "pseudomasks", "audit", "fit", "test", "predict", "report"}
    assert {step for step in steps if steps.count(step) > 1} == {"synthesize"}  # once per data set
    for earlier, later in [("synthesize", "pseudomasks"), ("pseudomasks", "fit"), ("fit", "test"), ("fit", "predict")]:
        assert steps.index(earlier) < steps.index(later)
    assert steps[-1] == "report"


def test_make_builds_the_mixture_of_the_paper_if_its_data_sets_are_there(rehearsal):
    (rehearsal.root / "configs/data").mkdir()
    for name in ("data/full.yaml", "pseudomasks/full.yaml", "full.yaml"):
        (rehearsal.root / "configs" / name).touch()
    refused = make("pseudomasks", "PROFILE=full", root=rehearsal.root)
    assert refused.returncode == 2
    assert "see data/README.md for the sets to put there" in refused.stderr
    (rehearsal.root / "data/raw").mkdir(parents=True)
    planned = make("--dry-run", "pseudomasks", "PROFILE=full", root=rehearsal.root).stdout
    mixture, pseudomasks = (planned.index(f"boxpromptiml {word} --config") for word in ("mixture", "pseudomasks"))
    assert mixture < pseudomasks


def test_repeating_make_demo_only_writes_the_report(rehearsal):
    rehearsal("demo")
    assert rehearsal("demo") == ["report"]


def test_a_changed_training_config_repeats_training_and_later_steps(rehearsal):
    rehearsal("demo")
    os.utime(rehearsal.root / "configs/demo.yaml", (time.time() + 5,) * 2)
    assert set(rehearsal("demo")) == {"fit", "test", "predict", "report"}


@pytest.mark.parametrize(("code", "goes_on"), [(3, True), (2, False)])
def test_failures_stop_the_job_and_images_set_aside_do_not(rehearsal, code, goes_on):
    command = rehearsal.root / ".venv/bin/boxpromptiml"
    command.write_text(command.read_text() + f'\n[ "$1" != pseudomasks ] || exit {code}\n')
    answer = make("demo", root=rehearsal.root)
    assert (answer.returncode == 0) == goes_on
    assert (rehearsal.root / "runs/demo/report.html").exists() == goes_on


def test_interrupted_training_is_resumed(rehearsal):
    rehearsal("demo")
    (rehearsal.root / "runs/demo/fit/fit.json").unlink()  # the checkpoints remain
    assert "fit" in rehearsal("demo")


def test_ablation_follows_the_profile(rehearsal):
    assert rehearsal("ablation", "PROFILE=demo") == ["ablation"]  # synthesizes its own small images
    (rehearsal.root / "configs/data").mkdir()
    (rehearsal.root / "data/raw").mkdir(parents=True)
    for name in ("data/full.yaml", "pseudomasks/full.yaml", "full.yaml"):
        (rehearsal.root / "configs" / name).touch()
    planned = make("--dry-run", "ablation", "PROFILE=full", root=rehearsal.root).stdout
    assert planned.index("pseudomasks --config") < planned.index("ablation --config configs/studies/full.yaml")


def test_training_resumes_an_interrupted_run_and_restarts_a_finished_one(rehearsal):
    rehearsal("demo")
    (rehearsal.root / "runs/demo/fit/checkpoints").mkdir()
    (rehearsal.root / "runs/demo/fit/checkpoints/last.ckpt").touch()
    (rehearsal.root / "configs/demo.yaml").touch()
    planned = make("--dry-run", "demo", root=rehearsal.root).stdout
    assert "fit --config configs/demo.yaml" in planned
    assert "--ckpt_path last" not in planned
    (rehearsal.root / "runs/demo/fit/fit.json").unlink()
    assert "--ckpt_path last" in make("--dry-run", "demo", root=rehearsal.root).stdout


def test_clean_keeps_data_and_full_training_runs(rehearsal):
    rehearsal("demo")
    for kept in ("data/full/manifest.json", "runs/full/fit/fit.json"):
        (rehearsal.root / kept).parent.mkdir(parents=True)
        (rehearsal.root / kept).touch()
    assert make("clean", root=rehearsal.root).returncode == 0
    assert (rehearsal.root / "data/full/manifest.json").exists()
    assert (rehearsal.root / "runs/full/fit/fit.json").exists()
    assert not (rehearsal.root / "runs/demo").exists()


def test_ci_runs_the_test_command_and_the_linters():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert "make test" in script
    assert "make lint" in script
    assert "set -euo pipefail" in script


def test_file_names_are_descriptive():
    assert not [path for path in SOURCES if path.stem in UNTELLING]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_source_file_has_its_tests_in_the_folder_that_mirrors_it(package):
    sources = [path for path in SOURCES if path.is_relative_to(ROOT / package) and path.stem not in DECLARATIONS]
    mirrored = [
        ROOT / "tests" / TESTS[package] / path.relative_to(ROOT / package).with_name(f"test_{path.name}")
        for path in sources
    ]
    assert not [path.relative_to(ROOT) for path in mirrored if not path.is_file()]


def test_no_function_forwards_unnamed_arguments():
    forwarding = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.args.kwarg and not _typed_by_a_decorator(node)
    ]
    assert not [place for place in forwarding if not place.startswith(HOOKS)]


def _typed_by_a_decorator(function):
    """Whether ``**kwargs: P.kwargs`` stands for the named arguments of a decorated function."""
    return ast.unparse(function.args.kwarg.annotation or ast.Constant("")) == "P.kwargs"


def test_every_dependency_has_a_lower_bound_and_a_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall(
        r'^  "([A-Za-z][^"]*)",?(.*)$', text.split("dependencies = [")[1].split("[project.scripts]")[0], re.M
    )
    assert len(listed) > 15
    assert not [name for name, reason in listed if ">=" not in name or "# " not in reason]
