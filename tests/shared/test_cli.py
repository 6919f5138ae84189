"""The command line: its help, its error messages, and what it imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from boxpromptiml.cli import TOOLS, TRAINER, main
from boxpromptiml.runtime.processes import command_words


def test_help_lists_every_command():
    answer = subprocess.run(command_words(["--help"]), capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in answer.stdout.splitlines() if line.startswith("  ")}
    assert listed == set(TOOLS) | set(TRAINER)


def test_help_imports_no_heavy_package():
    script = "import sys, boxpromptiml.cli as c; c.main(['--help']); print(sorted({'torch', 'cv2'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


HEAVY = ("albumentations", "gradio", "lightning", "matplotlib", "scipy", "timm", "torch", "torchvision", "wandb")
HELP_OF_EVERY_COMMAND = """
import json, sys
from contextlib import redirect_stdout, suppress
from io import StringIO

from boxpromptiml.cli import TOOLS, TRAINER, main
from boxpromptiml.shards.maintenance import COMMANDS

heavy, found = set(sys.argv[1:]), {}
for line in [*TOOLS, *TRAINER, *(f"cache {each.__name__}" for each in COMMANDS)]:
    shown = StringIO()
    with redirect_stdout(shown), suppress(SystemExit):
        main([*line.split(), "--help"])
    assert shown.getvalue(), line
    found[line] = sorted(heavy & set(sys.modules))
print(json.dumps(found))
"""


def test_help_of_every_command_imports_no_heavy_package():
    """An import by one command is also reported for those after it; the first is the cause."""
    command = [sys.executable, "-c", HELP_OF_EVERY_COMMAND, *HEAVY]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert set(TOOLS) | set(TRAINER) <= set(found)
    assert {line: imported for line, imported in found.items() if imported} == {}


def test_a_misspelt_command_lists_all_commands(capsys):
    assert main(["fitt"]) == 2
    message = capsys.readouterr().err
    assert "'fitt'" in message
    assert "  pseudomasks " in message
    assert "  validate " in message


@pytest.mark.parametrize("command", sorted(TOOLS))
def test_every_tool_explains_its_options(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "--config" in text
    undocumented = [line for line in text.splitlines() if line.strip().startswith("--") and line.rstrip().endswith("(")]
    assert not undocumented


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "64x48 - e?"), ("latin-1", "64×48 - é?"), ("utf-8", "64×48 – é→")]
)
def test_a_terminal_with_a_small_character_set_shows_similar_characters(encoding, shown):
    script = "from boxpromptiml.cli import make_printable; make_printable(); print('64×48 – é→')"
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert answer.stdout.decode(encoding).strip() == shown


def test_help_is_readable_in_a_plain_locale():
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    command = command_words(["complexity", "--help"])
    answer = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "multiply-accumulates" in answer.stdout.decode("ascii")


def test_bad_input_is_one_line_without_a_traceback(tmp_path, capsys):
    code = main(["predict", "--checkpoint", str(tmp_path / "none.ckpt"), "--images", str(tmp_path), "--out", "x"])
    assert code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "no photo found" in message
    assert not (tmp_path / "x").exists()


CONFIGS = Path(__file__).parents[2] / "configs"


def holds(whole, part):
    """Whether a nested structure contains every value of another."""
    if isinstance(part, dict):
        return all(name in whole and holds(whole[name], value) for name, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return whole == part


COMMAND_OF = {"data": "mixture", "synthesis": "synthesize", "pseudomasks": "pseudomasks"}


@pytest.mark.parametrize("config", sorted(p for f in COMMAND_OF for p in (CONFIGS / f).glob("*.yaml")), ids=str)
def test_every_tool_config_is_accepted_without_unknown_keys(config, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([COMMAND_OF[config.parent.name], "--config", str(config), "--print_config"])
    assert stopped.value.code == 0
    given, understood = yaml.safe_load(config.read_text()), yaml.safe_load(capsys.readouterr().out)
    assert holds(understood, given)


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_config_states_its_purpose_and_command(config):
    header = [line for line in config.read_text().splitlines() if line.startswith("#")]
    text = "\n".join(header)
    assert all(f"# {word} " in text for word in ("paper", "hardware", "time", "command"))
    assert "boxpromptiml" in text
