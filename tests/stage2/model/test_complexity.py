"""The command that prints the size of a student."""

from inspect import signature

import pytest

from boxpromptiml.cli import main
from stage2_distill.model.complexity import complexity
from stage2_distill.model.student import Student


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_budget_command(capsys):
    assert main(["complexity", "--backbone", "mobilenetv4_conv_small", "--image_size", "128"]) == 0
    assert "parameters  1.521 M" in capsys.readouterr().out


def test_the_default_student_is_that_of_training():
    of_student = signature(Student).parameters
    for name, argument in signature(complexity).parameters.items():
        assert argument.default == of_student[name].default, name
