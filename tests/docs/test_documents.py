"""Check every command that the documentation tells readers to type.

Each shell block is first rehearsed: bash runs it with stub programs that record their arguments, and the real parser
parses each recorded command. Blocks without a comment ``<!-- needs: … -->`` above them are then executed, in the order
of their page, in a folder like the one that the tutorial leaves; options that shrink the work are appended. The
comment names what a block needs that is not available in a test.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import textwrap
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from jsonargparse import capture_parser

from boxpromptiml import cli
from boxpromptiml.images import read_photo, write_photo
from boxpromptiml.images.visualization import thumbnail
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.runtime.configs import with_base_configs
from boxpromptiml.synthesis.photos import packaged_photos

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = "docs/tutorial.md"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = ["README.md", "MODEL_CARD.md", "CONTRIBUTING.md", "data/README.md", *PAGES]
FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- needs: (?P<needs>[^>]+?) -->\n(?P=indent))?"
    r"```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LANGUAGES = {"sh", "python", "yaml", "json", "mermaid", "xml"}
STAYS = {"app", "serve"}
"""Commands that run until they are stopped; they are parsed but not executed."""
STUDENT = """--model.student.init_args.backbone mobilenetv3_small_050 --model.student.init_args.channels 16
    --model.student.init_args.pretrained false
    --data.image_size 64 --data.batch_size 8 --data.workers 0 --trainer.enable_progress_bar false"""
SMALL = {
    "synthesize": "--train 16 --val 8 --test 8 --size 64 --workers 1",
    "check": "--workers 1",
    "redraw": "--workers 1",
    "pseudomasks": "--size 64 --workers 0",
    "fit": f"{STUDENT} --trainer.max_epochs 1",
    "test": STUDENT,
    "calibrate": "--workers 0",
    "predict": "--workers 0",
    "robustness": "--workers 0",
}
NOTE = """#!/bin/sh
{ printf '%s\\037' "${0##*/}" "$@"; printf '\\036'; } >> "$NOTED"
"""
STARTS_ANOTHER = """#!/bin/sh
while [ "$1" != boxpromptiml ]; do shift; done
exec "$@"
"""
STUBS = dict.fromkeys(("boxpromptiml", "make", "pip", "wandb"), NOTE)
STUBS |= dict.fromkeys(("srun", "torchrun"), STARTS_ANOTHER)


@dataclass(frozen=True)
class Block:
    document: str
    line: int
    language: str
    code: str
    needs: str | None

    def __str__(self):
        return f"{self.document}:{self.line}"


def blocks(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text[: found.start("code")].count("\n")
        yield Block(document, line, found["language"], textwrap.dedent(found["code"]), found["needs"])


@pytest.fixture(scope="module")
def recorded_commands(tmp_path_factory):
    """Function that runs a shell block with stub programs in a folder and returns the commands they recorded."""
    programs = tmp_path_factory.mktemp("programs")
    for name, script in STUBS.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)

    def recorded_commands(code, folder):
        notes = programs / "recorded"
        notes.write_text("")
        variables = {"PATH": f"{programs}:{os.defpath}:/usr/bin:/bin", "NOTED": str(notes), "HOME": str(folder)}
        process = subprocess.run(
            ["bash", "-eu", "-c", code], cwd=folder, env=variables, capture_output=True, text=True, timeout=20
        )
        assert process.returncode == 0, f"{code}\n{process.stderr}"
        return [command.split("\037")[:-1] for command in notes.read_text().split("\036")[:-1]]

    return recorded_commands


@cache
def parser_of(command):
    return capture_parser(lambda: cli.main([command]))


def parse(words):
    """Parse a command as the command line does, without running it."""
    command, *rest = words
    assert command in cli.TOOLS | cli.TRAINER, words
    try:
        parser_of(command).parse_args(with_base_configs(words) if command in cli.TRAINER else rest)
    except SystemExit as stop:
        raise AssertionError(f"the parser refuses: boxpromptiml {' '.join(words)}") from stop


def check(command):
    """Assert that a recorded command is valid: its options, make targets and variables, pip extras."""
    program, *words = command
    if program == "boxpromptiml":
        parse(words)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
        assert {word for word in words if "=" not in word} <= set(targets), command
        for name in (word.split("=")[0] for word in words if "=" in word):
            assert f"{name}=" in makefile or re.search(rf"^{name} +\??=|\b{name},", makefile, re.MULTILINE), command
    elif program == "pip":
        extras = re.findall(r"\[([\w,]+)\]", " ".join(words))
        known = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert all(re.search(rf"^{extra} = \[", known, re.MULTILINE) for extra in extras), command


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")


def run(block, names, recorded_commands):
    """Run a block in the current folder."""
    if block.language == "sh":
        for command in recorded_commands(block.code, Path.cwd()):
            check(command)
            words = command[1:]
            if command[0] == "boxpromptiml" and words[0] not in STAYS:
                code = cli.main([*words, *SMALL.get(words[0], "").split()])
                assert code == 0, f"{block}: boxpromptiml {' '.join(words)} ended with {code}"
    elif block.language == "python":
        exec(compile(block.code, str(block), "exec"), names)


def check_without_running(block, recorded_commands):
    """Check a block in the current folder without executing it."""
    assert block.language in LANGUAGES, block
    if block.language == "sh":
        for command in recorded_commands(block.code, Path.cwd()):
            check(command)
    elif block.language == "python":
        for node in ast.walk(ast.parse(block.code)):
            if isinstance(node, ast.ImportFrom):
                assert find_spec(node.module), block
    elif block.language == "yaml":
        Path("overlay.yaml").write_text(block.code)
        if {"data", "model", "trainer"} & yaml.safe_load(block.code).keys():
            parse(["fit", "--config", "configs/demo.yaml", "--config", "overlay.yaml"])
    elif block.language == "json":
        content = json.loads(block.code)
        if "images" in content:
            Path("manifest.json").write_text(block.code)
            assert len(read_manifest(Path("manifest.json")).records) == len(content["images"])


def set_up_checkout(folder):
    """Create what commands expect in a checkout: the configurations and a virtual environment."""
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/activate").touch()
    (folder / "mine").mkdir()


@pytest.fixture(scope="module")
def tutorial_folder(tmp_path_factory, recorded_commands):
    """Folder as the tutorial leaves it: ``mine``, and a demo run with the same content."""
    folder = tmp_path_factory.mktemp("tutorial")
    set_up_checkout(folder)
    for photo in [each for each in packaged_photos() if each.split == "test"]:
        (folder / "photos").mkdir(exist_ok=True)
        write_photo(folder / f"photos/{photo.scene}.jpg", thumbnail(read_photo(photo.path), 160))
    shutil.copy(folder / "photos/coffee.jpg", folder / "photo.jpg")
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "disabled")
        for block in blocks(TUTORIAL):
            if block.needs is None:
                run(block, names, recorded_commands)
    shutil.copytree(folder / "mine", folder / "runs/demo")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if list(blocks(document))])
def test_commands_in_a_document_are_valid(document, recorded_commands, tmp_path, monkeypatch):
    set_up_checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    for block in blocks(document):
        check_without_running(block, recorded_commands)


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if d != TUTORIAL and any(b.language in ("sh", "python") and not b.needs for b in blocks(d))],
)
def test_commands_in_a_document_run(document, tutorial_folder, recorded_commands, tmp_path, monkeypatch):
    shutil.copytree(tutorial_folder, tmp_path / "tutorial", symlinks=True)
    monkeypatch.chdir(tmp_path / "tutorial")
    names = {}
    for block in blocks(document):
        if block.needs is None:
            run(block, names, recorded_commands)


def test_the_tutorial_ends_with_a_student(tutorial_folder):
    folder = tutorial_folder / "mine"
    assert {path.name for path in (folder / "model").iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "calibration.json", "calibration.settings.json")
    }
    photos = {path.stem for path in (tutorial_folder / "photos").iterdir()}
    assert {path.stem for path in (folder / "found/masks").iterdir()} == photos


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_targets_and_files_that_a_text_names_exist(document):
    text = FENCE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    code = re.findall(r"`([^`\n]+)`", text)
    commands = {match[1] for each in code if (match := re.match(r"boxpromptiml ([a-z_]+)", each))}
    assert commands <= (cli.TOOLS | cli.TRAINER).keys()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {match[1] for each in code if (match := re.match(r"make ([a-z]+)", each))}
    assert targets <= set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())
    files = {match[0] for each in code if (match := re.match(r"(configs|docs|src|tests|benchmarks)/[\w./-]+$", each))}
    assert not {file for file in files if not (ROOT / file).exists()}
