"""Everything that the Dockerfile refers to exists. No image is built here."""

import importlib
import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from boxpromptiml.apps.serve.command import serve
from boxpromptiml.cli import TOOLS

ROOT = Path(__file__).resolve().parents[4]
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()


def of(instruction):
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{instruction} ")]


def test_files_that_are_copied_exist_and_are_not_ignored():
    copied = {name for line in of("COPY") for name in line.split()[:-1]}
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert allowed[0] == "*"
    assert all((ROOT / name).exists() and f"!{name}" in allowed for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packaged = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    assert needed | {name.split("/")[0] for name in packaged} <= copied


def test_the_extra_that_is_installed_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extra,) = (found for line in of("RUN") for found in re.findall(r"/build\[(\w+)\]", line))
    assert extra in project["optional-dependencies"]
    minimum = tuple(map(int, re.findall(r"\d+", project["requires-python"])))
    assert tuple(map(int, re.findall(r"\d+", of("FROM")[0]))) >= minimum


def test_the_command_and_its_options_exist():
    program, word, *options = json.loads(of("ENTRYPOINT")[0])
    assert program == "boxpromptiml"
    assert TOOLS[word][0] == "boxpromptiml.apps.serve.command:serve"
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert {name.removeprefix("--") for name in given} <= set(inspect.signature(serve).parameters)
    assert [given["--port"]] == of("EXPOSE")
    assert of("USER")[0] not in ("root", "0")


def test_the_health_check_requests_a_route_of_the_service(send):
    check = json.loads(of("HEALTHCHECK")[0].split("CMD", 1)[1])
    compile(check[2], "HEALTHCHECK", "exec")
    (port, path) = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", check[2]).groups()
    assert port == of("EXPOSE")[0]
    assert send("GET", path).status == 200


@pytest.mark.parametrize(("name", "user"), [("Dockerfile", "boxpromptiml"), ("deploy/space/Dockerfile", "user")])
def test_make_container_understands_the_dockerfile(name, user, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "deploy")
    container = importlib.import_module("container")
    image = container.Image.read(ROOT / name)
    assert image.user == user
    assert [word for word, _ in image.steps].count("RUN") == 2
    script = container.shut_in(image, image.entrypoint)[-1]
    assert f"setpriv --reuid {user}" in script
    assert script.endswith(shlex.join(image.entrypoint))
    assert ("remount,bind,ro" in script) == (not image.is_space)
    assert ("SPACE_ID=" in script) == image.is_space
