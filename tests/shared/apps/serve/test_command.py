"""``boxpromptiml serve`` as a new user starts it."""

import importlib.util
import signal
import socket
import subprocess
import urllib.request
from types import SimpleNamespace

import pytest

from boxpromptiml.cli import main
from boxpromptiml.runtime.processes import command_words


@pytest.fixture(scope="module")
def model(localizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "saved"
    localizer.save(folder)
    return folder


def test_it_serves_until_it_is_stopped(model):
    command = command_words(["serve", "--checkpoint", str(model), "--port", "0"])
    served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = served.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}/health", timeout=20) as answer:
            assert answer.status == 200
        served.send_signal(signal.SIGINT)
        _, complaints = served.communicate(timeout=60)
    finally:
        served.kill()
    assert served.returncode == 0
    assert complaints == ""


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_opening_it_to_other_machines_prints_a_warning(model, host, warned, capsys, monkeypatch):
    monkeypatch.setattr("boxpromptiml.apps.serve.server.server", lambda app, limits: SimpleNamespace(run=print))
    assert main(["serve", "--checkpoint", str(model), "--host", host, "--port", "0"]) == 0
    assert ("anyone who can reach this machine can use the service" in capsys.readouterr().err) == warned


def test_a_port_in_use_is_reported(model, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--checkpoint", str(model), "--port", port]) == 2
    assert f"127.0.0.1: cannot listen on port {port}" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--host", "no.such.host.invalid"], ["--limits.requests", "0"], ["--port", "99999"]])
def test_invalid_settings_are_reported(model, wrong, capsys):
    assert main(["serve", "--checkpoint", str(model), *wrong]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("boxpromptiml serve: ")
    assert wrong[1] in complaint
    assert complaint.count("\n") == 1


def test_without_the_extra_it_says_how_to_install_it(model, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else find(name))
    assert main(["serve", "--checkpoint", str(model)]) == 2
    assert "the service needs fastapi; install with: pip install 'boxpromptiml[serve]'" in capsys.readouterr().err
