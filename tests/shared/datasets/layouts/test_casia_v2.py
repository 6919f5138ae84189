from boxpromptiml.datasets.layouts import casia_v2

TIF = "Tp_D_NNN_S_B_art00097_cha00047_01384"
JPG = "Tp_S_NRN_S_N_pla00005_pla00005_10937"
OTHER = "Tp_D_NRD_S_N_cha10002_cha10001_20094"
SLIGHTLY_OFF = "Tp_S_NNN_S_N_sec00074_sec00074_00751"
TURNED = "Tp_D_CNN_M_N_sec00011_cha00085_11227"


def build(tree, masks):
    tree.photos(*(f"Tp/{name}" for name in (f"{TIF}.tif", f"{JPG}.jpg", f"{OTHER}.jpg", f"{TURNED}.jpg")))
    tree.masks(f"{masks}/{TIF}_gt.png", f"{masks}/{JPG}_gt.png", f"{masks}/{OTHER}_gt3.png")
    tree.wrong_size(f"{masks}/{TURNED}_gt.png", width=16, height=24)
    tree.photos("Au/Au_pla_00005.jpg", "Au/Au_cha_00047.bmp")


def test_both_suffixes_a_third_mask_name_and_a_rotated_mask(tree, prepared, groups):
    build(tree, "CASIA 2 Groundtruth")
    outcome = prepared("casia_v2", mismatched="resize", split="train")
    assert set(outcome.forged) == {f"Tp/{TIF}.tif", f"Tp/{JPG}.jpg", f"Tp/{OTHER}.jpg"}
    assert {record.split for record in outcome.records.values()} == {"train"}
    (aside,) = outcome.lines("skipped")
    assert f"{TURNED}_gt.png: the mask is 16×24, but its image is 24×16, a different shape" in aside
    assert outcome.code == 3
    assert groups(casia_v2.find(tree.root))[f"{JPG}.jpg"] == groups(casia_v2.find(tree.root))["Au_pla_00005.jpg"]


def test_the_masks_of_the_corrected_copy_are_in_gt(tree, prepared):
    build(tree, "Gt")
    assert len(prepared("casia_v2").forged) == 3
