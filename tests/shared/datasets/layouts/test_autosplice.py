import pytest

from boxpromptiml.datasets.layouts import autosplice


@pytest.fixture
def versions(tree):
    for quality in (75, 90):
        tree.photos(f"Forged_JPEG{quality}/39406_0.jpg", f"Forged_JPEG{quality}/39406_1.jpg")
    tree.photos("Authentic/39406.jpg", "Authentic/40574.jpg", "Forged_JPEG75/40574_0.jpg")
    tree.masks("Mask/39406_mask.png")


def test_all_versions_of_a_photo_share_a_mask_and_a_group(tree, versions, prepared, groups):
    outcome = prepared("autosplice")
    assert set(outcome.forged) == {"Forged_JPEG75/39406_0.jpg", "Forged_JPEG75/39406_1.jpg"}
    assert len({record.mask_path.resolve() for record in outcome.forged.values()}) == 1
    assert len(outcome.authentic) == 2
    (aside,) = outcome.lines("skipped")
    assert "40574_0.jpg: no mask named 40574_mask" in aside
    found = groups(autosplice.find(tree.root))
    assert found["39406_0.jpg"] == found["39406_1.jpg"] == found["39406.jpg"] == "39406"


def test_the_folder_of_another_jpeg_quality_can_be_the_root(tree, versions, prepared):
    outcome = prepared("autosplice", tree.root / "Forged_JPEG90")
    assert set(outcome.forged) == {"Forged_JPEG90/39406_0.jpg", "Forged_JPEG90/39406_1.jpg"}
    assert outcome.lines("skipped") == []
