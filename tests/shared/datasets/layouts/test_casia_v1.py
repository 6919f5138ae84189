from boxpromptiml.datasets.layouts import casia_v1

SPLICE = "Sp_D_CND_A_pla0005_pla0023_0281"
COPY_MOVE = "Sp_S_CND_A_pla0016_pla0016_0196"
MASKLESS = "Sp_D_NRN_A_cha0011_sec0011_0542"


def test_the_published_archives_with_their_image_without_a_mask(tree, prepared, groups):
    images, masks = "CASIA 1.0 dataset/Modified Tp/Tp", "CASIA 1.0 groundtruth"
    tree.photos(f"{images}/Sp/{SPLICE}.jpg", f"{images}/CM/{COPY_MOVE}.jpg", f"{images}/Sp/{MASKLESS}.jpg")
    tree.masks(f"{masks}/Sp/{SPLICE}_gt.png", f"{masks}/CM/{COPY_MOVE}_gt.png")
    tree.photos("CASIA 1.0 dataset/Au/Au_pla_0023.jpg", "CASIA 1.0 dataset/Tp/Sp/under_its_old_name.jpg")
    answer = prepared("casia_v1")
    assert answer.code == 3
    assert {name.rpartition("/")[2]: record.kind for name, record in answer.forged.items()} == {
        f"{SPLICE}.jpg": "splice",
        f"{COPY_MOVE}.jpg": "copy_move",
    }
    assert answer.authentic == {"CASIA 1.0 dataset/Au/Au_pla_0023.jpg"}
    (aside,) = answer.lines("set aside")
    assert f"{MASKLESS}.jpg: no mask named {MASKLESS}_gt" in aside
    assert "2 of 920 manipulated images, 1 of 800 authentic; 4 images listed, 1 file" in answer.said[1]
    found = groups(casia_v1.find(tree.root))
    assert found[f"{SPLICE}.jpg"] == found["Au_pla_0023.jpg"] == "pla0023"
