"""No command replaces an existing output file without being asked to."""

import json
from pathlib import Path

import numpy as np
import pytest

from boxpromptiml.cli import main
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.layouts import LAYOUTS
from boxpromptiml.images import write_mask, write_photo
from boxpromptiml.manifests.manifest import read_manifest, write_manifest

MASK = np.zeros((40, 60), bool)
MASK[10:20, 10:30] = True
COMMANDS = {
    "prepare": (
        "prepare --images photos --masks masks --out out.json --workers 1",
        "prepare --images photos --masks masks --out out.json --workers 1 --looseness 0.9",
    ),
    "redraw": (
        "redraw --manifest set.json --out out.json --workers 1",
        "redraw --manifest set.json --out out.json --workers 1 --looseness 0.9",
    ),
    "import_boxes": (
        "import_boxes --format coco --annotations set.json --images photos --out out.json",
        "import_boxes --format coco --annotations set.json --images photos --out out.json --split val",
    ),
    "export_boxes coco": (
        "export_boxes --manifest set.json --format coco --out out.json",
        "export_boxes --manifest set.json --format coco --out out.json --label forged",
    ),
    "export_boxes label_studio": (
        "export_boxes --manifest set.json --format label_studio --out out.json",
        "export_boxes --manifest set.json --format label_studio --out out.json --label forged",
    ),
    "compare": (
        "compare --baseline [a.json] --candidate [b.json] --out out.json",
        "compare --baseline [b.json] --candidate [a.json] --out out.json",
    ),
}
"""Command → its arguments, and other arguments that write the same file with different content."""
FOLDERS = {
    "check": (
        "check --manifest set.json --out out --workers 1",
        "check --manifest set.json --out out --workers 1 --outside 0.2",
    ),
    "export_boxes yolo": (
        "export_boxes --manifest set.json --format yolo --out out",
        "export_boxes --manifest set.json --format yolo --out out --label forged",
    ),
    "export_boxes voc": (
        "export_boxes --manifest set.json --format voc --out out",
        "export_boxes --manifest set.json --format voc --out out --label forged",
    ),
}
"""The same for commands that write a folder."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Current folder with two photos, their masks and manifest, and the scores of two runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["boxpromptiml", "command"])
    records = []
    for i in (1, 2):
        photo, mask = tmp_path / f"photos/{i}.png", tmp_path / f"masks/{i}.png"
        for path in (photo, mask):
            path.parent.mkdir(exist_ok=True)
        write_photo(photo, np.random.default_rng(i).integers(0, 256, (40, 60, 3), np.uint8))
        write_mask(mask, MASK)
        records.append(ImageRecord(i, photo, 60, 40, as_boxes([[10, 10, 30, 20]]), "test", "set", mask))
    write_manifest(tmp_path / "set.json", records)
    for name, f1 in (("a", 0.2), ("b", 0.4)):
        cases = [{"set": "s", "image_id": i, "file": "f", "kind": "splice", "f1": f1 + i / 10} for i in (1, 2, 3)]
        scores = {"sets": {}, "per_image": cases, "scoring": {"precision": "32-true"}}
        (tmp_path / f"{name}.json").write_text(json.dumps(scores))
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_identical_output_is_accepted_and_different_output_is_refused_by_name(folder, command, capsys):
    words, others = (line.split() for line in COMMANDS[command])
    assert main(words) == 0
    before = Path("out.json").read_bytes()
    assert main(words) == 0
    capsys.readouterr()
    assert main(others) == 2
    said = capsys.readouterr().err.splitlines()
    (line,) = (line for line in said if line.startswith(f"boxpromptiml {words[0]}: "))
    assert "out.json: already exists with other content; choose another file, or replace it with --overwrite" in line
    assert Path("out.json").read_bytes() == before
    assert main([*others, "--overwrite", "true"]) == 0
    assert "replaced: out.json" in capsys.readouterr().out
    assert Path("out.json").read_bytes() != before


def results():
    """Files in the results folder, except the lock left by a refused run."""
    files = (path for path in Path("out").rglob("*") if path.is_file() and path.name != ".lock")
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("command", FOLDERS)
def test_folders_follow_the_same_rule(folder, command, capsys):
    words, others = (line.split() for line in FOLDERS[command])
    said = main(words)
    before = results()
    assert main(words) == said
    assert results() == before
    capsys.readouterr()
    assert main(others) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert results() == before
    assert main([*others, "--overwrite", "true"]) == said
    assert "replaced: out/" in capsys.readouterr().out
    assert results() != before


def test_a_check_may_be_repeated_after_a_correction_of_its_manifest(folder):
    assert main(FOLDERS["check"][0].split()) == 0
    write_manifest(folder / "set.json", read_manifest(folder / "set.json").records[:1])
    assert main(FOLDERS["check"][0].split()) == 0
    assert json.loads(Path("out/check.json").read_text())["images"] == 1


def test_a_foreign_file_at_the_output_path_is_kept_too(folder):
    Path("out.json").write_text("notes of somebody")
    assert main(COMMANDS["redraw"][0].split()) == 2
    assert Path("out.json").read_text() == "notes of somebody"


def test_rewritten_masks_follow_the_same_rule(folder, capsys, monkeypatch):
    monkeypatch.setattr(LAYOUTS["folders"], "MASKS", "black")
    words = COMMANDS["prepare"][0].split()
    assert main(words) == 0
    mask = read_manifest(Path("out.json")).records[0].mask_path
    assert mask.resolve().is_relative_to(folder / "out-masks")
    assert main(words) == 0
    write_mask(mask, MASK.T.reshape(MASK.shape))
    other = mask.read_bytes()
    capsys.readouterr()
    assert main(words) == 2
    assert "already exists with other content" in capsys.readouterr().err
    assert mask.read_bytes() == other
    assert main([*words, "--overwrite", "true"]) == 0
    assert mask.read_bytes() != other


def test_a_mixture_writes_all_its_manifests_or_none(folder, capsys):
    sets = json.dumps(
        [
            {"name": name, "layout": "tp_gt", "root": f"sets/{name}", "use": use}
            for name, use in (("first", "test"), ("second", "train"))
        ]
    )
    for name in ("first", "second"):
        for part in ("Tp", "Gt"):
            (folder / "sets" / name / part).mkdir(parents=True)
        write_photo(folder / f"sets/{name}/Tp/a.png", np.zeros((40, 60, 3), np.uint8))
        write_mask(folder / f"sets/{name}/Gt/a.png", MASK)
    words = ["mixture", "--sets", sets, "--out", "mixed", "--workers", "1"]
    assert main(words) == 0
    assert main(words) == 0
    before = {path: path.read_bytes() for path in Path("mixed").rglob("*.json")}
    assert len(before) == 2
    (Path("mixed") / "test/first.json").unlink()
    capsys.readouterr()
    assert main([*words, "--looseness", "0.9"]) == 2
    assert "manifest.json: already exists with other content" in capsys.readouterr().err
    assert not (Path("mixed") / "test/first.json").exists()
    assert main([*words, "--looseness", "0.9", "--overwrite", "true"]) == 0
