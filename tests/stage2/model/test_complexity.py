"""The size of a student, printed."""

import pytest

from boxpromptiml.cli import main


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_budget_command(capsys):
    assert main(["complexity", "--backbone", "mobilenetv4_conv_small", "--image_size", "128"]) == 0
    assert "parameters  1.521 M" in capsys.readouterr().out
