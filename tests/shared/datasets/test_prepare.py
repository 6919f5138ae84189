import numpy as np
import pytest

from boxpromptiml.boxes import rasterize
from boxpromptiml.datasets.prepare import prepare
from boxpromptiml.images import read_mask, read_photo, write_mask, write_photo
from boxpromptiml.manifest import read_manifest
from boxpromptiml.records import InputError

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def folders(tmp_path):
    """Four forgeries with a square each and two authentic images."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "authentic"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for i, name in enumerate(NAMES):
        mask = np.zeros((40, 60), bool)
        mask[10:20, 10 * i : 10 * i + 10] = True
        write_photo(tmp_path / "set" / "images" / f"{name}.jpg", rng.integers(0, 256, (40, 60, 3), np.uint8))
        write_mask(tmp_path / "set" / "masks" / f"{name}_gt.png", mask)
    for name in "xy":
        write_photo(tmp_path / "set" / "authentic" / f"{name}.png", rng.integers(0, 256, (30, 30, 3), np.uint8))
    return tmp_path / "set"


def prepared(folders, out, **more):
    code = prepare(folders / "images", folders / "masks", out, folders / "authentic", **more)
    return code, read_manifest(out)


def test_a_clean_set_is_described_completely(folders, tmp_path, capsys):
    code, manifest = prepared(folders, tmp_path / "lists" / "squares.json", looseness=0, split="train")
    assert code == 0
    assert "4 of 4 images paired with a mask, 2 authentic, 0 files set aside" in capsys.readouterr().out
    forged, authentic = manifest.records[:4], manifest.records[4:]
    assert [r.boxes_xyxy.tolist() for r in forged] == [[[10 * i, 10, 10 * i + 10, 20]] for i in range(4)]
    assert [r.path.stem for r in authentic] == ["x", "y"]
    assert all(r.authentic and r.mask_path is None and len(r.boxes_xyxy) == 0 for r in authentic)
    for record in manifest.records:
        assert (record.source, record.split) == ("squares", "train")
        assert read_photo(record.path).shape[:2] == (record.height, record.width)


def test_a_missing_mask_skips_one_image_and_shifts_none(folders, tmp_path, capsys):
    _, whole = prepared(folders, tmp_path / "whole.json")
    (folders / "masks" / "b_gt.png").unlink()
    code, rest = prepared(folders, tmp_path / "rest.json", source="whole")
    assert code == 3
    said = capsys.readouterr().out
    assert "b.jpg: no mask of that name" in said
    assert "3 of 4 images paired" in said
    kept = [record for record in whole.records if record.path.stem != "b"]
    for before, after in zip(kept, rest.records, strict=True):
        assert (after.image_id, after.path, after.mask_path) == (before.image_id, before.path, before.mask_path)
        np.testing.assert_array_equal(after.boxes_xyxy, before.boxes_xyxy)


def test_files_that_cannot_be_used_are_listed(folders, tmp_path, capsys):
    images, masks = folders / "images", folders / "masks"
    (images / "a.jpg").write_bytes((images / "a.jpg").read_bytes()[:700])
    write_mask(masks / "b_gt.png", np.ones((40, 61), bool))
    write_mask(masks / "c_gt.png", np.zeros((40, 60), bool))
    write_mask(masks / "stray.png", np.ones((40, 60), bool))
    code, manifest = prepared(folders, tmp_path / "set.json")
    assert code == 3
    assert [record.path.stem for record in manifest.records] == ["d", "x", "y"]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("set aside: ")]
    assert len(said) == 4
    for line, words in zip(sorted(said), ("cut off", "61×40", "the mask is empty", "without an image"), strict=True):
        assert words in line


def test_the_seed_decides_the_boxes(folders, tmp_path):
    boxes = [prepared(folders, tmp_path / f"{i}.json", seed=seed)[1] for i, seed in enumerate((0, 0, 1))]
    rows = [np.concatenate([record.boxes_xyxy for record in manifest.records]) for manifest in boxes]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows[0] != rows[2]).any()


def test_a_share_goes_to_validation_by_name_alone(folders, tmp_path):
    for name in NAMES:
        (folders / "images" / f"{name}.jpg").rename(folders / "images" / f"{name}.jpeg")
        write_photo(folders / "authentic" / f"{name}.png", np.zeros((9, 9, 3), np.uint8))
    splits = set()
    for seed in range(6):
        _, manifest = prepared(folders, tmp_path / "set.json", split="train", val_share=0.4, seed=seed)
        by_name = {}
        for record in manifest.records:
            by_name.setdefault(record.path.stem, set()).add(record.split)
        assert all(len(found) == 1 for found in by_name.values())
        splits |= set.union(*by_name.values())
    assert splits == {"train", "val"}
    with pytest.raises(InputError, match=r"val_share is 1"):
        prepared(folders, tmp_path / "set.json", val_share=1)


def test_nothing_usable_is_an_error_and_writes_nothing(folders, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="4 images found and none that can be used"):
        prepare(folders / "images", tmp_path / "none", tmp_path / "set.json")
    with pytest.raises(InputError, match=r"such as set\.json"):
        prepare(folders / "images", folders / "masks", tmp_path / "set")
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("name", ["casia1", "comofod", "imd2020", "noso"])
def test_real_forgeries_are_prepared_whole(lab, tmp_path, name):
    folder = lab / "forgeries" / name
    authentic = folder / "authentic"
    out = tmp_path / f"{name}.json"
    assert prepare(folder / "images", folder / "masks", out, authentic if authentic.exists() else None) == 0
    manifest = read_manifest(out)
    assert manifest.set_aside == []
    assert len(manifest.records) == len([p for p in folder.rglob("*") if p.is_file() and "masks" not in p.parts])
    for record in manifest.records:
        if record.mask_path is not None:
            mask = read_mask(record.mask_path, (record.width, record.height))
            inside = rasterize(record.boxes_xyxy, record.width, record.height)
            assert (mask & inside).sum() > 0.95 * mask.sum()
