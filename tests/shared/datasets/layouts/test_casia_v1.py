import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layouts import casia_v1

SPLICE = "Sp_D_CND_A_pla0005_pla0023_0281"
COPY_MOVE = "Sp_S_CND_A_pla0016_pla0016_0196"
MASKLESS = "Sp_D_NRN_A_cha0011_sec0011_0542"


def test_the_published_archives_with_their_image_without_a_mask(tree, prepared, groups):
    images, masks = "CASIA 1.0 dataset/Modified Tp/Tp", "CASIA 1.0 groundtruth"
    tree.photos(f"{images}/Sp/{SPLICE}.jpg", f"{images}/CM/{COPY_MOVE}.jpg", f"{images}/Sp/{MASKLESS}.jpg")
    tree.masks(f"{masks}/Sp/{SPLICE}_gt.png", f"{masks}/CM/{COPY_MOVE}_gt.png")
    tree.photos("CASIA 1.0 dataset/Au/Au_pla_0023.jpg", "CASIA 1.0 dataset/Tp/Sp/under_its_old_name.jpg")
    outcome = prepared("casia_v1")
    assert outcome.code == 3
    assert {name.rpartition("/")[2]: record.kind for name, record in outcome.forged.items()} == {
        f"{SPLICE}.jpg": "splice",
        f"{COPY_MOVE}.jpg": "copy_move",
    }
    assert outcome.authentic == {"CASIA 1.0 dataset/Au/Au_pla_0023.jpg"}
    (aside,) = outcome.lines("skipped")
    assert f"{MASKLESS}.jpg: no mask named {MASKLESS}_gt" in aside
    assert "2 of 920 manipulated images, 1 of 800 authentic; 4 images listed, 1 file" in outcome.output[1]
    found = groups(casia_v1.find(tree.root))
    assert found[f"{SPLICE}.jpg"] == found["Au_pla_0023.jpg"] == "pla0023"


@pytest.mark.parametrize("second", ["CASIA 2.0", "CASIA2.0_revised", "casia_v2"])
@pytest.mark.parametrize("inside", [False, True])
def test_both_versions_below_one_root_as_in_cat_net(tree, prepared, second, inside):
    """The masks of version 2 lie beside its folder or, in the corrected copy, in its subfolder ``Gt``."""
    forged = "Tp_D_CND_M_N_ani00018_sec00096_00138"
    tree.photos(f"CASIA 1.0 dataset/Tp/Sp/{SPLICE}.jpg", f"CASIA 1.0 dataset/Tp/CM/{COPY_MOVE}.jpg")
    tree.photos("CASIA 1.0 dataset/Au/Au_pla_0023.jpg", f"{second}/Tp/{forged}.tif", f"{second}/Au/Au_ani_00001.jpg")
    tree.masks(f"CASIA 1.0 groundtruth/Sp/{SPLICE}_gt.png", f"CASIA 1.0 groundtruth/CM/{COPY_MOVE}_gt.png")
    tree.masks(f"{second}/Gt/{forged}_gt.png" if inside else f"CASIA 2 Groundtruth/{forged}_gt.png")
    one, two = prepared("casia_v1"), prepared("casia_v2")
    assert {name.rpartition("/")[2] for name in one.records} == {
        f"{SPLICE}.jpg",
        f"{COPY_MOVE}.jpg",
        "Au_pla_0023.jpg",
    }
    assert {name.rpartition("/")[2] for name in two.records} == {f"{forged}.tif", "Au_ani_00001.jpg"}
    assert one.lines("skipped") == two.lines("skipped") == []


def test_masks_of_the_other_version_are_not_used(tree):
    tree.photos(f"CASIA 1.0 dataset/Tp/Sp/{SPLICE}.jpg", "CASIA 2.0/Tp/x.jpg")
    tree.masks("CASIA 2.0/Gt/x_gt.png")
    with pytest.raises(InputError, match=r"no folder CASIA 1\.0 groundtruth here"):
        casia_v1.find(tree.root)
