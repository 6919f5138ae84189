"""Booleans on the command line: with and without a value, in the help, and when the value is wrong."""

from dataclasses import dataclass

import pytest
from jsonargparse import auto_cli

from boxpromptiml.cli import main
from boxpromptiml.runtime.limits_in_help import CommandParser


@dataclass(frozen=True)
class Outputs:
    """What to write.

    Attributes:
        masks: on by default.
        coco: off by default.
    """

    masks: bool = True
    coco: bool = False


def command(name: str = "", overwrite: bool = False, outputs: Outputs = Outputs()) -> tuple[str, bool, Outputs]:
    """Return what was given.

    Args:
        name: a word.
        overwrite: replace what is there.
        outputs: what to write.
    """
    return name, overwrite, outputs


def run(*words):
    return auto_cli(command, args=list(words), as_positional=False, prog="program", parser_class=CommandParser)


@pytest.mark.parametrize(
    ("words", "overwrite"),
    [
        ([], False),
        (["--overwrite"], True),
        (["--overwrite", "true"], True),
        (["--overwrite=true"], True),
        (["--overwrite", "false"], False),
        (["--overwrite", "true", "--overwrite", "false"], False),
    ],
)
def test_a_flag_is_given_alone_or_with_a_value(words, overwrite):
    assert run(*words)[1] is overwrite


def test_an_option_may_follow_a_flag():
    assert run("--overwrite", "--name", "x") == ("x", True, Outputs())


def test_flags_of_a_dataclass():
    assert run("--outputs.coco", "--outputs.masks", "false")[2] == Outputs(masks=False, coco=True)


@pytest.mark.parametrize("value", ["true", "false"])
def test_a_config_gives_the_value_and_the_command_line_overrides_it(value, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"overwrite: {value}\noutputs:\n  coco: {value}\n")
    _, overwrite, outputs = run("--config", str(config))
    assert overwrite is outputs.coco is (value == "true")
    assert run("--config", str(config), "--overwrite")[1] is True
    assert run("--config", str(config), "--overwrite", "false")[1] is False


@pytest.mark.parametrize("option", ["--overwrite", "--outputs.coco"])
def test_a_wrong_value_is_one_line(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(option, "maybe")
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert all(part in message for part in ("program: ", option, "bool", "maybe", "`program --help`"))


def test_the_help_shows_plain_flags_and_a_value_to_turn_others_off(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    text = capsys.readouterr().out
    usage = " ".join(text.partition("\n\n")[0].split())
    assert "[--overwrite]" in usage
    assert "[--outputs.coco]" in usage
    assert "[--outputs.masks {true,false}]" in usage
    assert "--overwrite {" not in text


@pytest.mark.parametrize("words", ["report --run none --overwrite", "report --overwrite true --run none"])
def test_a_command_of_ours_accepts_both(words, capsys):
    assert main(words.split()) == 2
    assert "none: " in capsys.readouterr().err


def test_the_trainer_accepts_flags_too(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("data:\n  caches: [x]\n")
    words = ["fit", "--overwrite", "--data.authentic", "--model.speed.compiled", "true", "--config", str(config)]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--print_config"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(line in text for line in ("\noverwrite: true", "\n  authentic: true", "\n    compiled: true"))
