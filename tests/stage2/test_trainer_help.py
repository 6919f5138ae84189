"""The short help of Lightning's commands, checked against their parser."""

import re
import shlex

import pytest
import yaml

from boxpromptiml.cli import TRAINER, main
from stage2_distill.trainer_help import EXAMPLES, OPTIONS, short_help


def flattened(content, prefix=""):
    """Dotted names of all entries of a configuration."""
    for name, value in content.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")


def printed(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", TRAINER)
def test_it_is_short_and_has_the_main_options(command, capsys):
    assert main([command, "--help"]) == main([command, "--config", "configs/demo.yaml", "-h"]) == 0
    text = short_help(command)
    assert capsys.readouterr().out == f"{text}\n" * 2
    assert len(text.splitlines()) < 50
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(("command", "example"), [(name, line) for name in TRAINER for line in EXAMPLES[name]])
def test_its_options_and_examples_are_accepted_by_the_parser(command, example, capsys):
    program, *words = shlex.split(example)
    assert (program, words[0]) == ("boxpromptiml", command)
    known = set(flattened(yaml.safe_load(printed([*words, "--print_config"], capsys))))
    offered = {option.name for option in OPTIONS[command]} - {"config", "print_config"}
    assert offered <= known
    used = {word.removeprefix("--") for word in words if word.startswith("--")} - {"config"}
    assert used <= offered


def test_all_options_are_listed_on_request(capsys):
    text = printed(["fit", "--help_all"], capsys)
    listed = set(re.findall(r"--([\w.]+)", text))
    assert {"trainer.gradient_clip_val", "data.augmentation", "model.speed", "seed_everything"} <= listed
