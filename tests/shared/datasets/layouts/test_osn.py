import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layouts import osn

CASIA = "Sp_D_CNN_A_ani0049_ani0084_0266"


def test_sets_per_network_with_masks_inside_or_beside(tree, prepared):
    tree.photos(f"Casia_Facebook/Sp/{CASIA}.jpg", "DSO_Weibo/splicing-01.jpg", "DSO_Wechat/splicing-01.jpeg")
    tree.masks(f"Casia_Facebook/CASIA_GT/{CASIA}_gt.png", "DSO_GT/splicing-01_gt.png")
    outcome = prepared("osn")
    assert outcome.code == 0
    assert {name: record.kind for name, record in outcome.forged.items()} == {
        f"Casia_Facebook/Sp/{CASIA}.jpg": "splice",
        "DSO_Weibo/splicing-01.jpg": None,
        "DSO_Wechat/splicing-01.jpeg": None,
    }
    assert set(prepared("osn", tree.root / "Casia_Facebook").forged) == {f"Casia_Facebook/Sp/{CASIA}.jpg"}


def test_a_folder_without_masks_or_networks_is_named(tree):
    with pytest.raises(InputError, match="no folder such as Casia_Facebook"):
        osn.find(tree.root)
    tree.photos("Columbia_Whatsapp/canong3_canonxt_sub_01.jpg")
    with pytest.raises(InputError, match="Columbia_Whatsapp: no folder of masks such as columbia_gt"):
        osn.find(tree.root)
