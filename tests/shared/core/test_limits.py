"""Every command refuses a value outside its limits with a message that names the range."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.cli import main
from boxpromptiml.core.boxes_from_mask import Drawing
from boxpromptiml.core.limits import Count, NotNegative, Share, Side, Threshold, Workers, check_fields, within_limits
from boxpromptiml.core.records import InputError
from boxpromptiml.scoring.protocol import Scoring


@within_limits
def job(
    batch_size: Count | Literal["auto"] = 8,
    workers: Workers = 2,
    share: Share | None = None,
    weights: dict[str, Share] | None = None,
    sizes: tuple[Side, ...] = (),
    seeds: list[Count] = [],  # noqa: B006 (read only)
    *,
    factor: NotNegative = 1.0,
) -> str:
    """A function with limits on its arguments."""
    return f"{batch_size} {workers} {share}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0; use a whole number from 1"),
        ({"batch_size": -3}, "batch_size is -3"),
        ({"batch_size": 2.5}, "batch_size is 2.5; use a whole number"),
        ({"workers": -1}, "workers is -1; use a whole number from 0; 0 means no extra workers"),
        ({"workers": "2"}, "workers is '2'"),
        ({"share": 50}, "share is 50; use a share from 0 to 1, such as 0.5 for 50 %"),
        ({"share": 101}, "share is 101; use a share from 0 to 1$"),
        ({"share": float("nan")}, "share is nan"),
        ({"weights": {"a": 0.5, "b": 30}}, "weights.b is 30; .* 0.3 for 30 %"),
        ({"sizes": (64, 4)}, "sizes is 4; use a number of pixels"),
        ({"seeds": [1, 0]}, "seeds is 0"),
        ({"factor": float("inf")}, "factor is inf; use a number from 0"),
    ],
)
def test_an_argument_outside_its_limits_is_named_with_the_range(given, words):
    with pytest.raises(InputError, match=words):
        job(**given)


def test_values_inside_the_limits_pass_unchanged():
    assert job("auto", 0, None, {"a": 1}, (8, 8192), [1], factor=0) == "auto 0 None"
    assert job(np.int64(4), share=np.float32(0.5)).startswith("4 2 0.5")
    with pytest.raises(TypeError, match="unexpected"):
        job(batch=3)


@given(st.floats())
def test_a_threshold_is_a_probability_below_one(value):
    @dataclass(frozen=True)
    class Settings:
        threshold: Threshold = 0.5

        def __post_init__(self):
            check_fields(self, "settings.")

    if 0 <= value < 1:
        assert Settings(value).threshold == value
    else:
        with pytest.raises(InputError, match=r"^settings\.threshold is .*; use a probability from 0 to below 1"):
            Settings(value)


@pytest.mark.parametrize("per_cent", [{"threshold": 50}, {"image_threshold": 99.5}])
def test_scoring_thresholds_in_per_cent_are_refused(per_cent):
    with pytest.raises(InputError, match=r"probability from 0 to below 1, such as 0.* %"):
        Scoring(**per_cent)


def test_box_margins_in_per_cent_are_refused():
    with pytest.raises(InputError, match=r"looseness is 15; .* 0\.15 for 15 %"):
        Drawing(looseness=15)


COMMANDS = {
    "predict --batch_size 0": "batch_size is 0",
    "predict --workers -1": "workers is -1",
    "predict --threshold 50": "threshold is 50; use a probability from 0 to below 1, such as 0.5 for 50 %",
    "calibrate --batch_size 0": "batch_size is 0",
    "robustness --workers -1": "workers is -1",
    "robustness --scoring.threshold 50": "scoring.threshold is 50",
    "pseudomasks --margin 5": "margin is 5; use a share from 0 to 1, such as 0.05 for 5 %",
    "pseudomasks --size 0": "size is 0; use a number of pixels",
    "prepare --val_share 10": "val_share is 10",
    "prepare --workers 0": "workers is 0",
    "synthesize --train -1": "train is -1",
    "synthesize --size 8": "size is 8",
    "synthesize --authentic_share 10": "authentic_share is 10",
    "check --outside 10": "outside is 10",
    "redraw --min_area 5": "min_area is 5",
    "serve --port 70000": "port is 70000; use a port",
    "serve --limits.requests 0": "limits.requests is 0",
    "app --max_megabytes 0": "max_megabytes is 0",
    "ablation --jobs 0": "jobs is 0",
    "compare --seed -1": "seed is -1",
}
REQUIRED = {
    "predict": "--checkpoint x.ckpt --images x.png --out {0}",
    "calibrate": "--checkpoint x.ckpt --caches [x] --out {0}",
    "robustness": "--checkpoint x.ckpt --test_sets {{a: x.json}} --out {0}",
    "pseudomasks": "--manifest x.json --teacher stage1_pseudomask.teachers.grabcut.GrabCut --out {0}",
    "prepare": "--images x --masks x --out {0}/x.json",
    "synthesize": "--out {0}",
    "check": "--manifest x.json --out {0}",
    "redraw": "--manifest x.json --out {0}/x.json",
    "serve": "--checkpoint x.ckpt",
    "app": "",
    "ablation": "--base x.yaml --studies {{}} --out {0}",
    "compare": "--baseline [x] --candidate [x] --out {0}/x.json",
}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_refuses_in_one_line_and_writes_nothing(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, *wrong = words.split()
    required = REQUIRED[command].format("out")
    split = required.replace("{a: ", "{a:").split()
    assert main([command, *(word.replace("{a:", "{a: ") for word in split), *wrong]) == 2
    output = capsys.readouterr().err
    assert output.startswith(f"boxpromptiml {command}: {COMMANDS[words]}")
    assert output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_values_from_a_config_are_checked_too(tmp_path, capsys):
    config = tmp_path / "predict.yaml"
    config.write_text("threshold: 50\n")
    needed = ["--checkpoint", "x.ckpt", "--images", "x.png", "--out", str(tmp_path / "out")]
    assert main(["predict", "--config", str(config), *needed]) == 2
    assert "threshold is 50" in capsys.readouterr().err


def test_fields_of_a_dataclass_that_is_an_argument_are_named_by_their_path():
    @dataclass(frozen=True)
    class Inner:
        sides: tuple[Side, ...] = (8,)

    @dataclass(frozen=True)
    class Outer:
        inner: Inner = Inner()

    def work(settings=Outer()):
        return settings

    Outer.__annotations__["inner"] = Inner
    work.__annotations__["settings"] = Outer
    checked = within_limits(work)
    assert checked(Outer()) == Outer()
    with pytest.raises(InputError, match=r"^settings\.inner\.sides is 4; use a number of pixels"):
        checked(Outer(Inner((4,))))
