import json

import numpy as np
import pytest

from boxpromptiml.core.boxes import area, with_margin
from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.prepare import prepare
from boxpromptiml.datasets.redraw import redraw
from boxpromptiml.manifests.manifest import ManifestError, read_manifest


@pytest.fixture
def manifest(tree, tmp_path):
    tree.photos("Tp/a.jpg", "Tp/b.jpg", "Au/x.jpg")
    tree.masks("Gt/a.png", "Gt/b.png")
    assert prepare(tmp_path / "lists" / "mini.json", "tp_gt", tree.root, split="train") == 0
    return tmp_path / "lists" / "mini.json"


def boxes(path):
    return [record.boxes_xyxy for record in read_manifest(path).records]


def test_the_same_arguments_draw_the_same_boxes(manifest, tmp_path):
    assert redraw(manifest, tmp_path / "again.json") == 0
    for before, after in zip(boxes(manifest), boxes(tmp_path / "again.json"), strict=True):
        np.testing.assert_array_equal(before, after)


def test_only_the_boxes_change(manifest, tree, tmp_path):
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert redraw(manifest, tmp_path / "loose.json", looseness=0.3, looseness_min=0.3) == 0
    assert {path: path.read_bytes() for path in files} == files
    for before, after in zip(
        read_manifest(manifest).records, read_manifest(tmp_path / "loose.json").records, strict=True
    ):
        for name in ("image_id", "width", "height", "split", "source", "authentic", "kind"):
            assert getattr(before, name) == getattr(after, name)
        assert before.path.resolve() == after.path.resolve()
        if not before.authentic:
            assert before.mask_path.resolve() == after.mask_path.resolve()
            np.testing.assert_allclose(
                after.boxes_xyxy, with_margin(np.float32([[6, 4, 14, 10]]), 0.3, 24, 16), atol=1e-3
            )


def test_looser_boxes_are_larger(manifest, tmp_path):
    for looseness in (0, 0.2, 0.4):
        redraw(manifest, tmp_path / f"{looseness}.json", looseness=looseness, looseness_min=looseness)
    areas = [area(boxes(tmp_path / f"{looseness}.json")[0])[0] for looseness in (0, 0.2, 0.4)]
    assert areas == sorted(set(areas))


def test_images_without_usable_ground_truth_are_set_aside(manifest, tree, tmp_path, capsys):
    content = json.loads(manifest.read_text())
    content["images"][0]["mask_file"] = None
    content["images"].append({"id": 9, "file_name": "../out.jpg", "width": 3, "height": 3})
    manifest.write_text(json.dumps(content))
    assert redraw(manifest, tmp_path / "some.json") == 3
    output = capsys.readouterr().out
    assert "a.jpg: no mask_file to draw boxes from" in output
    assert "../out.jpg: the file name" in output
    assert len(boxes(tmp_path / "some.json")) == 2
    (tree.root / "Gt/b.png").write_bytes(b"")
    (tree.root / "Au/x.jpg").unlink()
    assert redraw(manifest, tmp_path / "fewer.json") == 3
    assert "Gt/b.png: the file is empty" in capsys.readouterr().out


def test_the_old_manifest_is_never_overwritten(manifest, tmp_path):
    before = manifest.read_bytes()
    with pytest.raises(InputError, match="choose another"):
        redraw(manifest, manifest)
    with pytest.raises(ManifestError, match="no such manifest"):
        redraw(tmp_path / "none.json", tmp_path / "other.json")
    with pytest.raises(InputError, match=r"looseness from 0\.5 to 0\.15"):
        redraw(manifest, tmp_path / "other.json", looseness_min=0.5)
    assert manifest.read_bytes() == before
    assert not (tmp_path / "other.json").exists()
