"""Loader processes still start after any other command in the same process, as in a notebook."""

import os
import subprocess
import sys

import pytest
import torch
import yaml
from torch.utils.data import DataLoader, Dataset

from boxpromptiml.runtime.processes import loader_processes

NOTEBOOK = """
import sys
import cv2, numpy as np, torch
from boxpromptiml import Localizer
from boxpromptiml.cli import main
from stage2_distill.model.student import Student

folder = sys.argv[1]
cv2.setNumThreads(3)
torch.set_num_threads(3)
photo = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
cv2.resize(photo, (701, 703), interpolation=cv2.INTER_AREA)
cv2.warpAffine(photo, np.eye(2, 3), (1400, 1400))
torch.rand(500, 500) @ torch.rand(500, 500)
student = Student("mobilenetv3_small_050", False, image_size=64, channels=16, prototypes=4)
localizer = Localizer.from_student(student)
localizer.predict(photo)
localizer.save(f"{folder}/model")

def run(*words):
    assert main(list(words)) == 0, words
    print("done:", words[0], flush=True)

run("synthesize", "--train", "8", "--val", "2", "--test", "2", "--size", "96", "--out", f"{folder}/data",
    "--workers", "1")
run("predict", "--checkpoint", f"{folder}/model", "--images", f"{folder}/data/images", "--out", f"{folder}/masks",
    "--batch_size", "4", "--workers", "2", "--accelerator", "cpu")
run("pseudomasks", "--manifest", f"{folder}/data/manifest.json", "--out", f"{folder}/pseudomasks",
    "--teacher", "stage1_pseudomask.teachers.grabcut.GrabCut", "--size", "64", "--workers", "2",
    "--accelerator", "cpu", "--devices", "1")
run("fit", "--config", f"{folder}/config.yaml")
"""


@pytest.mark.timeout(600)  # a deadlock would wait forever
def test_all_stages_load_in_sequence_after_opencv_and_openmp_were_used(tiny_config, tmp_path):
    config = yaml.safe_load(tiny_config.read_text())
    config["trainer"]["max_epochs"] = 1
    config["data"] |= {"caches": [str(tmp_path / "pseudomasks")], "batch_size": 4, "workers": 2}
    tiny_config.write_text(yaml.safe_dump(config))
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", NOTEBOOK, str(tmp_path)]  # without a script file, as in a notebook
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, ran.stderr
    jobs = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("done:")]
    assert jobs == ["synthesize", "predict", "pseudomasks", "fit"]


class WorkerEnvironment(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        import cv2

        return os.environ.get("BOXPROMPTIML_MAX_PIXELS"), cv2.getNumThreads(), torch.get_num_threads()


@pytest.mark.parametrize("limit", ["1000", "2000"])
def test_loader_processes_have_the_current_environment_and_one_thread(limit, monkeypatch):
    monkeypatch.setenv("BOXPROMPTIML_MAX_PIXELS", limit)
    found = list(DataLoader(WorkerEnvironment(), None, **loader_processes(2, __name__)))
    assert found == [[limit, 1, 1]] * 4


def test_without_loader_processes_the_main_process_loads():
    assert loader_processes(0, __name__) == {"num_workers": 0}
