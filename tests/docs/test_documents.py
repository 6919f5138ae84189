"""Everything that the documents tell people to type.

Every shell block is rehearsed: bash runs it with stand-ins for the programs that it calls, which note their
arguments, and each command noted is parsed by the real parser. Blocks without a comment ``<!-- needs: … -->`` above
them are then run, in the order of their page, in a folder as the tutorial leaves it; options that make them small are
added at the end. Such a comment says what a block needs that a test has not.
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
from boxpromptiml.runtime.configs import with_bases
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
"""Commands that run until they are stopped; they are parsed."""
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
STAND_INS = dict.fromkeys(("boxpromptiml", "make", "pip", "wandb"), NOTE)
STAND_INS |= dict.fromkeys(("srun", "torchrun"), STARTS_ANOTHER)


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


@pytest.fixture(scope="session")
def noted(tmp_path_factory):
    """Runs a shell block in a folder, and returns the commands that it gave to the stand-ins."""
    programs = tmp_path_factory.mktemp("programs")
    for name, script in STAND_INS.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)

    def noted(code, folder):
        notes = programs / "noted"
        notes.write_text("")
        surroundings = {"PATH": f"{programs}:{os.defpath}:/usr/bin:/bin", "NOTED": str(notes), "HOME": str(folder)}
        answer = subprocess.run(
            ["bash", "-eu", "-c", code], cwd=folder, env=surroundings, capture_output=True, text=True, timeout=20
        )
        assert answer.returncode == 0, f"{code}\n{answer.stderr}"
        return [command.split("\037")[:-1] for command in notes.read_text().split("\036")[:-1]]

    return noted


@cache
def parser_of(command):
    return capture_parser(lambda: cli.main([command]))


def parse(words):
    """Parse a command as the command line does, without running it."""
    command, *rest = words
    assert command in cli.TOOLS | cli.TRAINER, words
    try:
        parser_of(command).parse_args(with_bases(words) if command in cli.TRAINER else rest)
    except SystemExit as stop:
        raise AssertionError(f"the parser refuses: boxpromptiml {' '.join(words)}") from stop


def check(command):
    """Whether a noted command could run: its options, make's targets and variables, pip's extras."""
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


def run(block, names, noted):
    """Run a block in the current folder."""
    if block.language == "sh":
        for command in noted(block.code, Path.cwd()):
            check(command)
            words = command[1:]
            if command[0] == "boxpromptiml" and words[0] not in STAYS:
                code = cli.main([*words, *SMALL.get(words[0], "").split()])
                assert code == 0, f"{block}: boxpromptiml {' '.join(words)} ended with {code}"
    elif block.language == "python":
        exec(compile(block.code, str(block), "exec"), names)


def look_at(block, noted):
    """What can be said of a block without running it, in the current folder."""
    assert block.language in LANGUAGES, block
    if block.language == "sh":
        for command in noted(block.code, Path.cwd()):
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


def furnish(folder):
    """What a command finds where the project is: its configurations, and an installation."""
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/activate").touch()
    (folder / "mine").mkdir()


@pytest.fixture(scope="session")
def world(tmp_path_factory, noted):
    """A folder as somebody has it who did the tutorial: ``mine``, and the demo's run with the same content."""
    folder = tmp_path_factory.mktemp("world")
    furnish(folder)
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
                run(block, names, noted)
    shutil.copytree(folder / "mine", folder / "runs/demo")
    return folder


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if list(blocks(document))])
def test_what_a_document_says_can_be_typed(document, noted, tmp_path, monkeypatch):
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    for block in blocks(document):
        look_at(block, noted)


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if d != TUTORIAL and any(b.language in ("sh", "python") and not b.needs for b in blocks(d))],
)
def test_what_a_document_says_runs(document, world, noted, tmp_path, monkeypatch):
    shutil.copytree(world, tmp_path / "world", symlinks=True)
    monkeypatch.chdir(tmp_path / "world")
    names = {}
    for block in blocks(document):
        if block.needs is None:
            run(block, names, noted)


def test_the_tutorial_ends_with_a_student(world):
    assert {path.name for path in (world / "mine/model").iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "calibration.json", "calibration.settings.json")
    }
    assert len(list((world / "mine/found/masks").rglob("*.png"))) == len(list((world / "mine/images").rglob("*.png")))


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
