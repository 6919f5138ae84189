"""``boxpromptiml app``, started and stopped as a user does."""

import os
import re
import signal
import subprocess
import urllib.request

import pytest

from boxpromptiml.apps.web_app import command
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.processes import command_words


def test_it_prints_its_address_and_leaves_nothing_behind(tmp_path):
    words = command_words(["app", "--open_browser", "false"])
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert "the released one, which comes with the package" in process.stdout.readline()
        address = re.match(r"(http://127\.0\.0\.1:\d+/)", process.stdout.readline()).group(1)
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.status == 200
        assert list(tmp_path.glob("boxpromptiml-page-*"))
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(timeout=30) == 0
    assert not list(tmp_path.glob("boxpromptiml-page-*"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_gradio_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'boxpromptiml\[app\]'"):
        command.app()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match="no such checkpoint"):
        command.app(checkpoint=str(tmp_path / "best.ckpt"), open_browser=False)


def test_proposals_without_a_student_are_refused(tmp_path):
    with pytest.raises(InputError, match="proposals need a student"):
        command.app(checkpoint=None, photos=tmp_path, proposals=1.0, open_browser=False)


def test_an_invalid_limit_is_refused():
    with pytest.raises(InputError, match="max_megabytes is 0"):
        command.app(max_megabytes=0)
