import pytest

from boxpromptiml.datasets.layouts import autosplice


@pytest.fixture
def versions(tree):
    for quality in (75, 90):
        tree.photos(f"Forged_JPEG{quality}/39406_0.jpg", f"Forged_JPEG{quality}/39406_1.jpg")
    tree.photos("Authentic/39406.jpg", "Authentic/40574.jpg", "Forged_JPEG75/40574_0.jpg")
    tree.masks("Mask/39406_mask.png")


def test_all_versions_of_a_photo_share_a_mask_and_a_group(tree, versions, prepared, groups):
    answer = prepared("autosplice")
    assert set(answer.forged) == {"Forged_JPEG75/39406_0.jpg", "Forged_JPEG75/39406_1.jpg"}
    assert len({record.mask_path.resolve() for record in answer.forged.values()}) == 1
    assert len(answer.authentic) == 2
    (aside,) = answer.lines("skipped")
    assert "40574_0.jpg: no mask named 40574_mask" in aside
    found = groups(autosplice.find(tree.root))
    assert found["39406_0.jpg"] == found["39406_1.jpg"] == found["39406.jpg"] == "39406"


def test_another_quality_is_named_as_the_root(tree, versions, prepared):
    answer = prepared("autosplice", tree.root / "Forged_JPEG90")
    assert set(answer.forged) == {"Forged_JPEG90/39406_0.jpg", "Forged_JPEG90/39406_1.jpg"}
    assert answer.lines("skipped") == []
