"""The command, as a new user starts it."""

import importlib.util
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from boxpromptiml.cli import main


@pytest.fixture(scope="module")
def model(localizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "saved"
    localizer.save(folder)
    return folder


@pytest.mark.parametrize(("host", "asked"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_it_serves_until_it_is_stopped(model, host, asked):
    command = [sys.executable, "-m", "boxpromptiml.cli", "serve", "--checkpoint", str(model), "--host", host]
    served = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = served.stdout.readline()
        address = line.split()[0].replace(host, asked)
        with urllib.request.urlopen(f"{address}/health", timeout=20) as answer:
            assert answer.status == 200
        served.send_signal(signal.SIGINT)
        _, complaints = served.communicate(timeout=20)
    finally:
        served.kill()
    assert served.returncode == 0
    warned = "whoever reaches this machine can use the service" in complaints
    assert warned == (host == "0.0.0.0")
    assert "Traceback" not in complaints


def test_a_port_that_is_taken_is_told(model, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--checkpoint", str(model), "--port", port]) == 2
    assert f"127.0.0.1: cannot listen on port {port}" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--host", "no.such.host.invalid"], ["--limits.requests", "0"], ["--port", "99999"]])
def test_settings_that_make_no_sense_are_told(model, wrong, capsys):
    assert main(["serve", "--checkpoint", str(model), *wrong]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("boxpromptiml serve: ")
    assert wrong[1] in complaint
    assert complaint.count("\n") == 1


def test_without_the_extra_it_says_how_to_get_it(model, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else find(name))
    assert main(["serve", "--checkpoint", str(model)]) == 2
    assert "the service needs fastapi; install with: pip install 'boxpromptiml[serve]'" in capsys.readouterr().err
