import pytest

from boxpromptiml.datasets.layouts import tp_gt

NAMES = ["a.jpg", "b.JPG", "c.tif", "d.png"]


@pytest.fixture
def casia_like(tree):
    tree.photos(*(f"Tp/{name}" for name in NAMES), "Au/x.jpg")
    tree.masks("Gt/a.png", "Gt/b_gt.png", "Gt/c_mask.png", "Gt/d.png")


def test_a_deleted_mask_costs_one_image_and_shifts_no_other(tree, casia_like, prepared):
    whole = prepared("tp_gt", source="set")
    assert whole.code == 0
    assert len(whole.forged) == 4
    (tree.root / "Gt/b_gt.png").unlink()
    rest = prepared("tp_gt", source="set")
    assert rest.code == 3
    (aside,) = rest.lines("skipped")
    assert "Tp/b.JPG: no mask named b or b_gt or b_mask" in aside
    assert set(whole.records) - set(rest.records) == {"Tp/b.JPG"}
    for name, record in rest.records.items():
        assert (record.image_id, record.mask_path) == (whole.records[name].image_id, whole.records[name].mask_path)


def test_authentic_images_are_optional(tree):
    tree.photos("Tp/a.jpg")
    tree.masks("Gt/a.png")
    assert len(tp_gt.find(tree.root).images) == 1
