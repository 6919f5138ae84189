"""User errors raised by libraries become one line in every command; bugs keep their traceback."""

import errno
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import InterpolationKeyError
from wandb.errors import CommError

from boxpromptiml import cli
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.library_errors import user_error_message


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("photo.jpg: no such file; name another"), "photo.jpg: no such file; name another"),
        (MisconfigurationException("No such\n  profiler."), "No such profiler; correct the config or the options"),
        (
            InterpolationKeyError("There is no key 'x'"),
            "There is no key 'x'; correct the config",
        ),
        (torch.OutOfMemoryError("CUDA out of memory."), "CUDA out of memory; use a smaller batch size"),
        (MemoryError(), "MemoryError; use a smaller batch size"),
        (CommError("permission denied"), "permission denied; correct the logger, or set WANDB_MODE=offline"),
        (OSError(errno.EACCES, "Permission denied", "out"), "out: Permission denied; make it available"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free space"),
    ],
)
def test_a_user_error_is_one_line_with_a_remedy(error, line):
    assert user_error_message(error).startswith(line)
    assert "\n" not in user_error_message(error)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), RuntimeError("x"), OSError("no file named")])
def test_a_bug_is_not_turned_into_a_user_error(error):
    assert user_error_message(error) is None


def raises(problem: str) -> int:
    """Raise an error as a library does.

    Args:
        problem: ``lightning`` for an error of the library, otherwise a bug of ours.
    """
    raise MisconfigurationException("devices make no sense") if problem == "lightning" else KeyError(problem)


def test_every_command_reports_user_errors_and_bugs_keep_their_traceback(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "stand_in", SimpleNamespace(raises=raises))
    monkeypatch.setitem(cli.TOOLS, "compare", ("stand_in:raises", "a stand-in"))
    assert cli.main(["compare", "--problem", "lightning"]) == 2
    line = "boxpromptiml compare: devices make no sense; correct the config or the options\n"
    assert capsys.readouterr().err == line
    with pytest.raises(KeyError):
        cli.main(["compare", "--problem", "ours"])
