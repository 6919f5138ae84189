import pytest

from boxpromptiml.datasets.layouts import coverage


@pytest.fixture
def miniature(tree):
    """Four of a hundred pairs: two valid, one with a mask of another size, one with the mask of another image."""
    for number in (1, 2, 41, 95):
        tree.photos(f"image/{number}.tif", f"image/{number}t.tif")
        tree.masks(f"mask/{number}forged.tif", f"mask/{number}copy.tif", f"mask/{number}paste.tif")
        (tree.root / "label").mkdir(exist_ok=True)
        (tree.root / f"label/{number}.mat").touch()
    tree.wrong_size("mask/95forged.tif", width=40, height=16)


def test_forged_masks_are_used_unless_their_size_differs(tree, miniature, prepared, groups):
    tree.wrong_size("mask/41forged.tif", width=48, height=32)
    outcome = prepared("coverage")
    assert set(outcome.forged) == {"image/1t.tif", "image/2t.tif"}
    assert outcome.authentic == {"image/1.tif", "image/2.tif", "image/41.tif", "image/95.tif"}
    assert {record.kind for record in outcome.forged.values()} == {"copy_move"}
    scaled, other = outcome.lines("skipped")
    assert "41forged.tif: the mask is 48×32, but its image is 24×16; export the mask at the image's size" in scaled
    assert "--mismatched resize" in scaled
    assert "95forged.tif: the mask is 40×16, but its image is 24×16, a different shape" in other
    assert outcome.code == 3
    assert groups(coverage.find(tree.root))["2t.tif"] == groups(coverage.find(tree.root))["2.tif"] == "2"
