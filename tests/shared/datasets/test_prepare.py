import numpy as np
import pytest
from scipy import ndimage

from boxpromptiml.cli import main
from boxpromptiml.core.boxes import rasterize
from boxpromptiml.core.records import InputError
from boxpromptiml.datasets import examine
from boxpromptiml.datasets.prepare import prepare
from boxpromptiml.images import read_pair, read_photo, read_record
from boxpromptiml.manifests.manifest import read_manifest

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def folders(tree):
    """Four forgeries with one square each, and two authentic images."""
    for i, name in enumerate(NAMES):
        region = np.zeros((40, 60), bool)
        region[10:20, 10 * i : 10 * i + 10] = True
        tree.photos(f"images/{name}.jpg", width=60, height=40)
        tree.masks(f"masks/{name}_gt.png", region=region)
    tree.photos("authentic/x.png", "authentic/y.png")
    return tree.root


def plain(folders, out, **more):
    """Arguments of the plain form: separate folders instead of a layout."""
    places = {name: folders / name for name in ("images", "masks", "authentic")}
    code = prepare(out, **places, overwrite=True, **more)
    return code, read_manifest(out)


def test_a_clean_set_is_described_completely(folders, tmp_path, capsys):
    code, manifest = plain(folders, tmp_path / "lists" / "squares.json", looseness=0, split="train")
    assert code == 0
    assert "4 manipulated images, 2 authentic; 6 images listed, 0 files skipped" in capsys.readouterr().out
    forged, authentic = manifest.records[:4], manifest.records[4:]
    assert [r.boxes_xyxy.tolist() for r in forged] == [[[10 * i, 10, 10 * i + 10, 20]] for i in range(4)]
    assert [r.path.stem for r in authentic] == ["x", "y"]
    assert all(r.authentic and r.mask_path is None and len(r.boxes_xyxy) == 0 for r in authentic)
    for record in manifest.records:
        assert (record.source, record.split) == ("squares", "train")
        assert read_photo(record.path).shape[:2] == (record.height, record.width)


def test_the_layout_and_the_plain_form_agree(folders, tmp_path):
    _, by_hand = plain(folders, tmp_path / "plain" / "set.json")
    assert prepare(tmp_path / "layout" / "set.json", "folders", folders) == 0
    assert (tmp_path / "plain/set.json").read_text() == (tmp_path / "layout/set.json").read_text()
    assert len(by_hand.records) == 6


def test_a_missing_mask_skips_one_image_and_shifts_none(folders, tmp_path, capsys):
    _, whole = plain(folders, tmp_path / "whole.json")
    (folders / "masks" / "b_gt.png").unlink()
    code, rest = plain(folders, tmp_path / "rest.json", source="whole")
    assert code == 3
    assert "images/b.jpg: no mask named b or b_gt or b_mask" in capsys.readouterr().out
    kept = [record for record in whole.records if record.path.stem != "b"]
    for before, after in zip(kept, rest.records, strict=True):
        assert (after.image_id, after.path, after.mask_path) == (before.image_id, before.path, before.mask_path)
        np.testing.assert_array_equal(after.boxes_xyxy, before.boxes_xyxy)


def test_files_that_cannot_be_used_are_listed(folders, tree, tmp_path, capsys):
    (folders / "images/a.jpg").write_bytes((folders / "images/a.jpg").read_bytes()[:700])
    tree.wrong_size("masks/b_gt.png", width=61, height=40)
    tree.masks("masks/c_gt.png", region=np.zeros((40, 60), bool))
    tree.wrong_size("masks/stray.png", width=60, height=40)
    code, manifest = plain(folders, tmp_path / "set.json")
    assert code == 3
    assert [record.path.stem for record in manifest.records] == ["d", "x", "y"]
    output = [line for line in capsys.readouterr().out.splitlines() if line.startswith("skipped: ")]
    for line, words in zip(sorted(output), ("cut off", "61×40", "the mask is empty", "without an image"), strict=True):
        assert words in line


def test_the_set_itself_is_never_touched(folders, tree, tmp_path):
    tree.wrong_size("masks/b_gt.png", width=30, height=20)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folders.rglob("*") if path.is_file()}
    plain(folders, tmp_path / "set.json", mismatched="resize")
    files = [path for path in folders.rglob("*") if path.is_file()]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == before
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} - {
        path.relative_to(tmp_path).as_posix() for path in files
    }
    assert written == {"set.json", "set-masks/images/b.jpg.png"}


def test_the_seed_decides_the_boxes(folders, tmp_path):
    boxes = [plain(folders, tmp_path / f"{i}.json", seed=seed)[1] for i, seed in enumerate((0, 0, 1))]
    rows = [np.concatenate([record.boxes_xyxy for record in manifest.records]) for manifest in boxes]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows[0] != rows[2]).any()


def test_a_fraction_goes_to_validation_and_twins_stay_together(folders, tree, tmp_path):
    tree.photos(*(f"authentic/{name}.png" for name in NAMES))
    splits = set()
    for seed in range(6):
        _, manifest = plain(folders, tmp_path / "set.json", split="train", val_share=0.4, seed=seed)
        by_name = {}
        for record in manifest.records:
            by_name.setdefault(record.path.stem, set()).add(record.split)
        assert all(len(found) == 1 for found in by_name.values())
        splits |= set.union(*by_name.values())
    assert splits == {"train", "val"}


def test_an_incomplete_set_is_reported_by_the_exit_code(tree, tmp_path, capsys):
    tree.photos("label_in_wild/images/1.jpg")
    tree.masks("label_in_wild/masks/1.png")
    assert prepare(tmp_path / "wild.json", "in_the_wild", tree.root) == 3
    assert "1 of 201 manipulated images" in capsys.readouterr().out
    assert prepare(tmp_path / "wild.json", "in_the_wild", tree.root, allow_incomplete=True) == 0
    tree.photos("label_in_wild/images/2.jpg")
    assert prepare(tmp_path / "wild.json", "in_the_wild", tree.root, allow_incomplete=True) == 3, "a file was skipped"


def test_invalid_arguments_are_refused_before_any_work(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(examine, "read_pair", None)
    images, masks, out = folders / "images", folders / "masks", tmp_path / "set.json"
    for arguments, words in (
        ({"out": tmp_path / "set", "images": images, "masks": masks}, r"such as set\.json"),
        ({"out": out}, "pass either --layout"),
        ({"out": out, "images": images}, "pass either --layout"),
        ({"out": out, "layout": "folders"}, "pass either --layout"),
        ({"out": out, "layout": "folders", "root": folders, "masks": masks}, "pass either --layout"),
        ({"out": out, "images": images, "masks": masks, "val_share": 1}, "val_share is 1"),
        ({"out": out, "images": images, "masks": masks, "looseness": -1}, "looseness"),
        ({"out": out, "images": images, "masks": folders / "none"}, "none: no such folder"),
        ({"out": out, "layout": "tp_gt", "root": folders / "none"}, "none: does not exist"),
        ({"out": out, "layout": "tp_gt", "root": folders}, "no folder Tp here .found authentic, images, masks."),
    ):
        with pytest.raises(InputError, match=words):
            prepare(**arguments)
    assert not out.exists()


def test_nothing_usable_is_an_error_and_writes_nothing(folders, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none of the 4 images found can be used"):
        prepare(tmp_path / "set.json", images=folders / "images", masks=tmp_path / "none")
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("blocked", ["set-masks", ".set.json.partial"])
def test_an_unwritable_output_is_named_and_the_old_manifest_stays(folders, tree, tmp_path, capsys, blocked):
    arguments = ["prepare", "--layout", "folders", "--root", str(folders), "--out", str(tmp_path / "set.json")]
    assert main(arguments) == 0
    before = (tmp_path / "set.json").read_bytes()
    tree.wrong_size("masks/b_gt.png", width=30, height=20)
    (tmp_path / blocked).mkdir() if "." in blocked else (tmp_path / blocked).touch()
    capsys.readouterr()
    assert main([*arguments, "--mismatched", "resize", "--overwrite", "true"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("boxpromptiml prepare:")]
    assert blocked in line
    assert (tmp_path / "set.json").read_bytes() == before


def test_an_interrupted_run_leaves_the_old_manifest_intact(folders, tmp_path, monkeypatch):
    _, whole = plain(folders, tmp_path / "set.json")
    calls = []

    def stop_at_the_third(*files_and_form):
        calls.append(files_and_form)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read_pair(*files_and_form)

    monkeypatch.setattr(examine, "read_pair", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "set.json", "folders", folders)
    assert len(read_manifest(tmp_path / "set.json").records) == len(whole.records)


@pytest.mark.parametrize("name", ["casia1", "comofod", "imd2020", "noso"])
def test_real_forgeries_are_all_prepared(lab, tmp_path, name, capsys):
    folder = lab / "forgeries" / name
    out = tmp_path / f"{name}.json"
    assert prepare(out, "folders", folder) == 0
    manifest = read_manifest(out)
    assert manifest.set_aside == []
    assert len(manifest.records) == len([p for p in folder.rglob("*") if p.is_file() and "masks" not in p.parts])
    assert "0 files skipped" in capsys.readouterr().out
    for record in manifest.records:
        if record.mask_path is not None:
            _, mask = read_record(record)
            inside = rasterize(record.boxes_xyxy, record.width, record.height)
            left_out, count = ndimage.label(mask & ~inside, np.ones((3, 3)))
            areas = np.bincount(left_out.ravel(), minlength=count + 1)[1:]
            assert (areas < 0.0005 * mask.size).all()  # specks get no box of their own


def test_names_with_colons_work_and_drive_letters_cost_one_file(folders, tmp_path, capsys):
    for stem in ("shot 10:20:30", "C:x", "x\\..\\y"):
        (folders / "images" / f"{stem}.jpg").write_bytes((folders / "images/a.jpg").read_bytes())
        (folders / "masks" / f"{stem}.png").write_bytes((folders / "masks/a_gt.png").read_bytes())
    code, manifest = plain(folders, tmp_path / "set.json")
    assert (code, manifest.set_aside) == (3, [])
    assert "shot 10:20:30.jpg" in {record.path.name for record in manifest.records}
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("skipped")]
    assert sorted(line.split(":", 1)[1].strip().rsplit(":", 1)[0] for line in lines) == ["C:x.jpg", "x\\..\\y.jpg"]
    assert all("this name cannot be stored in a manifest; rename the file" in line for line in lines)
