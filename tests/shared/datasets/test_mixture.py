from pathlib import Path

import pytest
import yaml

from boxpromptiml.cli import main
from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.mixture import SourceSet, mixture
from boxpromptiml.images import read_mask
from boxpromptiml.manifests.manifest import read_manifest

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture
def sets(tree):
    """Miniature sets: one for training, one for training and test, and two test sets, one with inverted masks."""
    tree.photos(*(f"casia2/Tp/Tp_D_NNN_S_N_ani{i:05d}_cha{i:05d}_{i:05d}.jpg" for i in range(30)))
    tree.masks(*(f"casia2/Gt/Tp_D_NNN_S_N_ani{i:05d}_cha{i:05d}_{i:05d}_gt.png" for i in range(29)))
    tree.photos(*(f"coverage/image/{i}.tif" for i in range(10)), *(f"coverage/image/{i}t.tif" for i in range(10)))
    tree.masks(*(f"coverage/mask/{i}forged.tif" for i in range(10)))
    tree.photos("dso1/DSO-1/splicing-1.png", "dso1/DSO-1/normal-1.png")
    tree.masks("dso1/DSO-1-Fake-Images-Masks/splicing-1.png", marked=(0, 0, 0), rest=(255, 255, 255))
    tree.photos("wild/images/1.jpg")
    tree.masks("wild/masks/1.png")
    return [
        SourceSet("casia2", "casia_v2", tree.root / "casia2", "train"),
        SourceSet("coverage", "coverage", tree.root / "coverage", "both", "in", test_images=3),
        SourceSet("dso1", "dso1", tree.root / "dso1", "test", "out"),
        SourceSet("wild", "in_the_wild", tree.root / "wild", "test", "out"),
    ]


def by_set(manifest):
    return {
        name: [record for record in manifest.records if record.source == name]
        for name in {record.source for record in manifest.records}
    }


def test_one_training_manifest_and_one_for_each_test(sets, tmp_path, capsys):
    out = tmp_path / "full"
    assert mixture(sets, out, val_share=0.3, workers=1) == 3
    assert sorted(path.name for path in (out / "test").iterdir()) == ["coverage.json", "dso1.json", "wild.json"]
    training = by_set(read_manifest(out / "manifest.json"))
    assert {name: sum(not r.authentic for r in records) for name, records in training.items()} == {
        "casia2": 29,
        "coverage": 7,
    }
    assert {record.split for records in training.values() for record in records} == {"train", "val"}
    for name, forged, authentic in (("coverage", 3, 3), ("dso1", 1, 1), ("wild", 1, 0)):
        records = read_manifest(out / f"test/{name}.json").records
        assert {record.split for record in records} == {"test"}
        assert [sum(r.authentic == kind for r in records) for kind in (False, True)] == [forged, authentic]
        assert {record.source for record in records} == {name}
    ids = [record.image_id for records in training.values() for record in records]
    assert len(ids) == len(set(ids))

    output = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("skipped: ") for line in output) == 1
    rows = {line.split()[0]: line.split() for line in output[-7:-3]}
    assert rows["coverage"][1:6] == ["both", "in", "10", "100", rows["coverage"][5]]
    assert rows["coverage"][7:] == ["3", "10", "0"]
    assert rows["casia2"][2:4] == ["30", "5123"]
    assert output[-3:] == [
        "training: 36 of 5,193 manipulated images",
        "in-distribution tests: 3 of 30 manipulated images (coverage)",
        "out-of-distribution tests: 2 of 301 manipulated images (dso1, wild)",
    ]


def test_no_original_photo_is_in_two_splits(sets, tmp_path):
    mixture(sets, tmp_path / "full", val_share=0.3, workers=1)
    number = {}
    for path in (tmp_path / "full/manifest.json", tmp_path / "full/test/coverage.json"):
        for record in by_set(read_manifest(path))["coverage"]:
            number.setdefault(record.path.stem.rstrip("t"), set()).add(record.split)
    assert len(number) == 10
    assert all(len(splits) == 1 for splits in number.values())


def test_inverted_masks_are_written_beside_the_manifests(sets, tmp_path):
    mixture(sets, tmp_path / "full", workers=1)
    forged = next(r for r in read_manifest(tmp_path / "full/test/dso1.json").records if not r.authentic)
    assert forged.mask_path.resolve() == tmp_path / "full/masks/dso1/DSO-1/splicing-1.png"
    assert read_mask(forged.mask_path).sum() == 48
    assert [path.name for path in (tmp_path / "full/masks").iterdir()] == ["dso1"]


def test_the_draw_depends_on_the_seed_and_not_on_the_number_of_processes(sets, tmp_path):
    for name, seed, workers in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        mixture(sets, tmp_path / name / "full", seed=seed, workers=workers)
    first, same, other = ((tmp_path / name / "full/test/coverage.json").read_bytes() for name in "abc")
    assert first == same != other


def test_missing_sets_stop_the_run_before_any_work_unless_allowed(sets, tree, tmp_path, capsys):
    sets += [SourceSet("nist16", "nist16", tree.root / "nist16", "both"), SourceSet("k", "korus", tree.root, "test")]
    with pytest.raises(InputError, match=r"2 of 6 sets are missing \(nist16, k\)"):
        mixture(sets, tmp_path / "full")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("missing: ")]
    assert [line.split(": ")[1] for line in lines] == ["nist16", "k"]
    assert not (tmp_path / "full").exists()
    (tree.root / "casia2/Tp/Tp_D_NNN_S_N_ani00029_cha00029_00029.jpg").unlink()  # the one image without a mask
    assert mixture(sets, tmp_path / "full", allow_incomplete=True, workers=1) == 0
    table = capsys.readouterr().out
    assert "nist16    both   out           missing  564" in table
    assert "training: 36 of 5,607" in table


def test_making_only_test_sets_leaves_the_training_manifest_unchanged(sets, tmp_path):
    mixture(sets[2:], tmp_path / "full", allow_incomplete=True)
    assert not (tmp_path / "full/manifest.json").exists()
    assert (tmp_path / "full/test/wild.json").exists()


def test_invalid_arguments_are_refused(sets, tree, tmp_path):
    wild = sets[-1]
    for given, words in (
        ([wild, wild], "'wild' is used twice"),
        ([SourceSet("../x", "folders", tree.root, "test")], "is not a file name"),
        ([SourceSet("x", "folders", tree.root, "both")], "set test_images to the number of images to test on"),
        ([], "0 of 0 sets"),
    ):
        with pytest.raises(InputError, match=words):
            mixture(given, tmp_path / "full")
    with pytest.raises(InputError, match="val_share is 1"):
        mixture(sets, tmp_path / "full", val_share=1)
    for path in tree.root.glob("wild/*/*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="none of the 1 sets"):
        mixture([wild], tmp_path / "full")


def test_the_config_describes_the_mixture_of_the_paper(tmp_path, monkeypatch, capsys):
    config = yaml.safe_load((CONFIGS / "data/full.yaml").read_text())
    sets = [SourceSet(**spec) for spec in config["sets"]]
    assert sum(spec.expected.train for spec in sets if spec.use != "test") == 5737
    tests = {where: [s.name for s in sets if s.use != "train" and s.distribution == where] for where in ("in", "out")}
    assert tests == {
        "in": ["coverage", "columbia", "nist16", "casia1"],
        "out": ["imd2020", "korus", "dso1", "cocoglide", "inthewild"],
    }
    scored = yaml.safe_load((CONFIGS / "full.yaml").read_text())["data"]["test_sets"]
    assert scored == {name: f"{config['out']}/test/{name}.json" for names in tests.values() for name in names}
    pseudomasks = yaml.safe_load((CONFIGS / "pseudomasks/full.yaml").read_text())
    assert pseudomasks["manifest"] == f"{config['out']}/manifest.json"
    monkeypatch.chdir(tmp_path)
    assert main(["mixture", "--config", str(CONFIGS / "data/full.yaml")]) == 2
    assert "10 of 10 sets are missing" in capsys.readouterr().err
