import json
import os
import signal
import subprocess
import sys
import time

import pytest

from boxpromptiml.apps.ablation import training
from boxpromptiml.apps.ablation.plan import plan
from boxpromptiml.apps.ablation.training import input_words, make_inputs, replace_others, train_and_test
from boxpromptiml.core.records import InputError

# A stub of the command line: records its arguments and environment, and writes the files that `fit` and `test` write.
PROGRAM = """
import json, os, pathlib, sys, time
words = sys.argv[1:]
log = pathlib.Path(os.environ["LOG"])
with log.open("a") as stream:
    stream.write(json.dumps([words, {k: v for k, v in os.environ.items() if k.startswith(("WANDB", "OMP"))}]) + "\\n")
if "fail" in words:
    sys.exit("no such thing")
time.sleep(float(os.environ.get("SLEEP", 0)))
if "--trainer.default_root_dir" in words:
    folder = pathlib.Path(words[words.index("--trainer.default_root_dir") + 1])
    name = {"fit": "fit/fit.json", "test": "test/scores.json"}[words[0]]
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}")
if "aside" in words and words[0] == "test":
    sys.exit(3)
"""


@pytest.fixture
def called(tmp_path, monkeypatch):
    """Install the stub in place of the program; return a function that gives the calls so far."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(training, "command_words", lambda words: [sys.executable, str(tmp_path / "program.py"), *words])
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    log = tmp_path / "log"
    return lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def runs_of(studies, base, tmp_path, options=None):
    return list({run.folder: run for run in plan(studies, [0], base, options or {}, "", tmp_path).values()}.values())


def test_every_run_is_trained_then_tested_and_nothing_is_done_twice(studies, base, tmp_path, called):
    runs = runs_of(studies, base, tmp_path)
    assert train_and_test(runs, 2) == []
    assert sorted(words[0] for words, _ in called()) == ["fit"] * 3 + ["test"] * 3
    assert train_and_test(runs, 2) == []
    assert len(called()) == 6
    runs[0].scores.unlink()
    train_and_test(runs, 2)
    assert [words[0] for words, _ in called()[6:]] == ["test"]  # trained runs are not trained again


def test_runs_with_other_settings_are_refused_or_replaced_but_not_resumed(studies, base, tmp_path, called, capsys):
    runs = runs_of(studies, base, tmp_path)
    train_and_test(runs, 1)
    checkpoint = runs[0].folder / "fit/checkpoints/last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    own = runs[0].folder / "notes.txt"
    own.touch()
    others = runs_of(studies, base, tmp_path, {"trainer.max_epochs": 9})
    with pytest.raises(InputError, match=r"3 runs that were made with other settings.*--overwrite"):
        replace_others(others, overwrite=False)
    assert checkpoint.exists()
    capsys.readouterr()
    replace_others(others, overwrite=True)
    assert f"replaced: {checkpoint}" in capsys.readouterr().out.splitlines()
    assert not checkpoint.exists()
    assert own.exists()
    train_and_test(others, 1)
    assert len(called()) == 12
    assert all("last" not in words for words, _ in called())
    replace_others(others, overwrite=False)  # the folders now belong to this command


def test_runs_trained_elsewhere_are_used_as_they_are(studies, base, tmp_path, called):
    runs = runs_of(studies, base, tmp_path)
    for run in runs:
        for file, words in ((run.fitted, ["fit", *run.arguments]), (run.scores, ["test"])):
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps({"command": " ".join(["boxpromptiml", *words])}))
    replace_others(runs, overwrite=False)
    assert train_and_test(runs, 1) == []
    assert called() == []
    with pytest.raises(InputError, match="made with other settings"):
        replace_others(runs_of(studies, base, tmp_path, {"trainer.max_epochs": 9}), overwrite=False)


def test_runs_are_grouped_by_study_and_share_the_processors(studies, base, tmp_path, called):
    train_and_test(runs_of(studies, base, tmp_path), 2)
    environments = {(words[0], of["WANDB_RUN_GROUP"], of["WANDB_NAME"]): of for words, of in called()}
    assert ("fit", "components", "without memory, seed 0") in environments
    shared = environments["fit", "components", "complete, seed 0"]
    assert shared["WANDB_TAGS"] == "ablation,components,alpha"
    assert shared["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // 2))


def test_a_failing_run_is_named_and_the_others_continue(studies, base, tmp_path, called):
    runs = runs_of(studies, base, tmp_path)
    broken = type(runs[0])(**{f: getattr(runs[0], f) for f in runs[0].__slots__} | {"arguments": ("fail",)})
    (line,) = train_and_test([broken, *runs[1:]], 1)
    assert f"{broken.folder}: `fit` exited with 1; see {broken.folder}/log.txt" in line
    assert "no such thing" in (broken.folder / "log.txt").read_text()
    assert all(run.scores.exists() for run in runs[1:])


def test_a_test_that_sets_photos_aside_counts_as_finished_and_is_named(studies, base, tmp_path, called):
    run = runs_of(studies, base, tmp_path)[0]
    odd = type(run)(**{f: getattr(run, f) for f in run.__slots__} | {"arguments": (*run.arguments, "aside")})
    (line,) = train_and_test([odd], 1)
    assert line == f"{odd.folder}: `test` skipped photos; {odd.folder}/log.txt lists them"
    assert odd.scores.exists()


def test_inputs_are_made_once_and_remade_when_their_commands_change(tmp_path, called):
    made = {"photos": ["boxpromptiml synthesize --size 64", "redraw --out 'a b.json'"]}
    for _ in range(2):
        make_inputs(made, tmp_path / "inputs")
    assert [words for words, _ in called()] == [["synthesize", "--size", "64"], ["redraw", "--out", "a b.json"]]
    make_inputs({"photos": ["synthesize --size 32"]}, tmp_path / "inputs")
    assert len(called()) == 3
    with pytest.raises(InputError, match=r"input photos: `fail` exited with 1"):
        make_inputs({"photos": ["fail"]}, tmp_path / "inputs")


def test_a_stopped_ablation_stops_its_runs(studies, base, tmp_path, called):
    script = (
        "import sys; sys.path.insert(0, {here!r})\n"
        "from boxpromptiml.apps.ablation import training\n"
        "from boxpromptiml.apps.ablation.plan import plan, Study, Variant\n"
        "training.command_words = lambda words: [sys.executable, {program!r}, *words]\n"
        "from pathlib import Path\n"
        "study = Study('?', {{'a': Variant(), 'b': Variant({{'x': 1}})}}, 'a')\n"
        "runs = plan({{'s': study}}, [0], Path({base!r}), {{}}, '', Path({out!r}))\n"
        "training.train_and_test(list(runs.values()), 1)\n"
    ).format(here=str(tmp_path), program=str(tmp_path / "program.py"), base=str(base), out=str(tmp_path / "out"))
    environment = {**os.environ, "SLEEP": "60"}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not called() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=30)  # the stub would sleep for a minute
    assert process.returncode != 0
    assert "KeyboardInterrupt" in output
    assert len(called()) == 1, "the second run must not start"


@pytest.mark.parametrize(
    ("line", "words"), [("", "not a command"), ("boxpromptiml", "not a command"), ("a 'b", "close")]
)
def test_an_input_that_is_not_a_command_is_refused(line, words):
    with pytest.raises(InputError, match=words):
        input_words(line)
