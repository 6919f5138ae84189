"""The installed wheel, outside any checkout and without a network, runs the commands of the README."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from boxpromptiml.synthesis.photos import packaged_photos

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
STUDENT = "--model.student.init_args.pretrained false --data.workers 0 --data.batch_size 2"
STEP = "--trainer.accelerator cpu --trainer.devices 1 --trainer.max_epochs 1 --trainer.limit_train_batches 1"
QUIET = "--trainer.limit_val_batches 1 --trainer.enable_progress_bar false"
DATA = "--data.caches [runs/demo/pseudomasks] --data.streams null --data.source_weights null --data.val_sets null"
COMMANDS = [
    "synthesize --config configs/synthesis/demo.yaml --train 8 --val 4 --test 4 --size 64 --workers 1",
    "pseudomasks --config configs/pseudomasks/demo.yaml --size 64 --workers 0",
    *(
        f"fit --config configs/{path.name} {STEP} {QUIET} {STUDENT} {DATA}"
        for path in CONFIGS
        if path.parent.name == "configs"
    ),
    "ablation --config configs/studies/full.yaml --dry_run",
    "predict --checkpoint runs/demo/fit/checkpoints/best.ckpt --images photo.jpg --out found --workers 0",
    "export --checkpoint runs/demo/fit/checkpoints/best.ckpt --out student.onnx",
]
ALL = """
import json, sys
from boxpromptiml.cli import main
for command in json.loads(sys.argv[1]):
    assert main(command.split()) == 0, command
import boxpromptiml
print(boxpromptiml.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Python and program of a fresh environment with the wheel; dependencies come from the current environment."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "environment")
    (site,) = (folder / "environment").glob("lib/*/site-packages")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    borrowed = [path for path in sys.path if path and ROOT not in [Path(path), *Path(path).parents][:2]]
    (site / "borrowed.pth").write_text("\n".join(borrowed))  # a .pth file does not activate editable installs in there
    yield folder / "environment/bin/python", site / "bin/boxpromptiml", wheel
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WANDB", "BOXPROMPTIML"))
    }
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    here = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
    home = str(tmp_path_factory.mktemp("home"))
    yield kept | nowhere | here | {"HOME": home, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def folder_after_commands(installed, variables, tmp_path_factory):
    """Folder in which the commands were run in order."""
    folder = tmp_path_factory.mktemp("elsewhere")
    photo = next(photo for photo in packaged_photos() if photo.split == "test")
    (folder / "photo.jpg").write_bytes(photo.path.read_bytes())
    answer = subprocess.run(
        [installed[0], "-c", ALL, json.dumps(COMMANDS)], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    assert Path(answer.stdout.splitlines()[-1]).is_relative_to(installed[0].parents[1])
    yield folder
    shutil.rmtree(folder)


def test_every_configuration_is_in_the_wheel(installed):
    with zipfile.ZipFile(installed[2]) as wheel:
        inside = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".yaml")}
    assert inside == {
        f"boxpromptiml/packaged_configs/{path.relative_to(ROOT / 'configs').as_posix()}": path.read_bytes()
        for path in CONFIGS
    }


def test_configs_are_listed_in_any_folder(installed, variables, tmp_path):
    answer = subprocess.run(
        [installed[0], installed[1], "configs"], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert answer.stdout.count("\n") == len(CONFIGS), answer.stderr


@pytest.mark.timeout(900)
def test_readme_commands_run_outside_a_checkout(folder_after_commands):
    assert (folder_after_commands / "found/masks/photo.png").is_file()
    assert (folder_after_commands / "student.onnx").stat().st_size > 100_000
    trained = [path for path in CONFIGS if path.parent.name == "configs"]
    assert len(list((folder_after_commands / "runs").rglob("fit/fit.json"))) == len(trained)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("word", "options"), [("app", ["--open_browser", "false"]), ("serve", ["--port", "0"])])
def test_page_and_service_start_outside_a_checkout(installed, variables, folder_after_commands, word, options):
    student = ["--checkpoint", "runs/demo/fit/checkpoints/best.ckpt"]
    process = subprocess.Popen(
        [installed[0], installed[1], word, *student, *options], cwd=folder_after_commands, env=variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        assert address, "".join(printed)
        where = address[0] + ("/health" if word == "serve" else "/")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert opener.open(where, timeout=60).status == 200
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
