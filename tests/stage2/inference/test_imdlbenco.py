"""The student as a model of IMDLBenCo: IMDLBenCo's tester and metrics give our scores. Run by `make interop`."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from boxpromptiml import Localizer
from boxpromptiml.apps.web_app.example_photo import forged_photo
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.images import resize_mask, resize_photo, write_mask, write_photo
from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.evaluation.metrics import ImageScores
from stage2_distill.evaluation.score_report import summarize

ROOT = Path(__file__).resolve().parents[3]
PYTHON = Path(os.environ.get("BOXPROMPTIML_INTEROP", ROOT / ".venv-interop/bin/python"))
PADDED = 640
"""Side of the square that IMDLBenCo places photos in; no photo is larger."""
pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="no IMDLBenCo here; `make interop` installs it by itself"),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def photos():
    """Forged photos of several sizes with their masks, and authentic photos."""
    photo, mask = forged_photo()
    forged = [
        (photo, mask),
        (np.ascontiguousarray(photo[:, 250:]), np.ascontiguousarray(mask[:, 250:])),
        (np.ascontiguousarray(photo[::-1]), np.ascontiguousarray(mask[::-1])),
        (resize_photo(photo, 384, 384), resize_mask(mask, 384, 384)),
        (resize_photo(photo, 300, 200), resize_mask(mask, 300, 200)),
    ]
    return [*forged, *((photo, None) for photo in (data.chelsea(), data.coffee(), data.astronaut()[:300]))]


@pytest.fixture(scope="module")
def theirs(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imdlbenco")
    rows = []
    for index, (photo, mask) in enumerate(photos):
        write_photo(folder / f"{index}.png", photo)
        if mask is not None:
            write_mask(folder / f"{index}_mask.png", mask)
        rows.append([str(folder / f"{index}.png"), "Negative" if mask is None else str(folder / f"{index}_mask.png")])
    (folder / "all.json").write_text(json.dumps(rows))
    (folder / "manipulated.json").write_text(json.dumps([row for row in rows if row[1] != "Negative"]))
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    alone |= {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "CUDA_VISIBLE_DEVICES": ""}
    save = [PYTHON, "-m", "stage2_distill.inference.imdlbenco", folder / "checkpoint-0.pth"]
    subprocess.run(save, check=True, env=alone, cwd=folder)
    command = [PYTHON, Path(__file__).with_name("imdlbenco_scores.py"), folder, str(PADDED)]
    answer = subprocess.run(command, env=alone, cwd=folder, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout.splitlines()[-1])


def ours(photos, resolution):
    """Compute our scores at the ground truth's size or at the student's."""
    localizer = Localizer.load()
    scoring = Scoring(resolution=resolution)
    board, records = ImageScores(scoring), []
    side = localizer.student.image_size
    for index, (photo, mask) in enumerate(photos):
        seen = resize_photo(photo, side, side) if resolution == "network" else photo
        found = localizer.localize_scored([seen])[0]
        truth = np.zeros(photo.shape[:2], bool) if mask is None else mask
        board.update(0, index, *map(torch.tensor, (found.probability, truth, found.score)))
        nothing = np.zeros((0, 4), np.float32)
        records.append(
            ImageRecord(index, Path(f"{index}.png"), *photo.shape[1::-1], nothing, "test", "s", None, mask is None)
        )
    return summarize(board.compute().numpy(), {"photos": records}, scoring)["photos"]


def test_padded_photos_get_exactly_our_scores(photos, theirs):
    scores = ours(photos, "truth")
    assert scores["f1"] > 0.3  # the student finds something, so that equal scores say something
    for name in ("f1", "iou", "auc", "image_auc"):
        assert theirs["padded"][name] == pytest.approx(scores[name], abs=2e-4), name


def test_resized_photos_get_nearly_the_scores_of_resolution_network(photos, theirs):
    """OpenCV drops pixels where Pillow averages them, so the student gets another input."""
    scores = ours(photos, "network")
    print({name: (theirs["resized"][name], scores[name]) for name in theirs["resized"]})
    for name in ("f1", "iou", "auc"):
        assert theirs["resized"][name] == pytest.approx(scores[name], abs=0.1), name


def test_it_learns_in_imdlbencos_trainer_and_refuses_padded_images(theirs):
    losses = theirs["learned"]["losses"]
    assert losses[-1] < losses[0]
    assert theirs["learned"]["plots"] == ["bce", "dice"]
    assert "train with --if_resizing --image_size 512" in theirs["learned"]["refused"]
