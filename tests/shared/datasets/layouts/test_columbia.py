import numpy as np

from boxpromptiml.datasets.layouts import columbia
from boxpromptiml.images import read_photo

SPLICED = ("canong3_canonxt_sub_01", "nikond70_kodakdcs330_sub_12")


def test_green_in_the_coloured_edge_masks_marks_the_spliced_region(tree, prepared, groups, tmp_path):
    tree.photos(*(f"4cam_splc/{name}.tif" for name in SPLICED))
    truth = "4cam_splc/edgemask"
    tree.masks(f"{truth}/{SPLICED[0]}_edgemask.jpg", marked=(0, 200, 0), rest=(200, 0, 0))
    shades = np.zeros((16, 24, 3), np.uint8)  # regular and bright shades, and an area of another colour
    shades[:, :20] = (200, 0, 0)
    shades[4:10, 6:14] = (0, 255, 0)
    shades[4:10, 9:14] = (0, 200, 0)
    tree._write(f"{truth}/{SPLICED[1]}_edgemask.png", shades)
    tree.masks(f"{truth}/{SPLICED[1]}_edgemask_3.jpg")
    tree.photos("4cam_auth/canong3_02_sub_01.tif", "4cam_auth/canong3_02_sub_02.tif")
    tree.masks("4cam_auth/edgemask/canong3_02_sub_01_edgemask.jpg", marked=(0, 0, 255))
    before = (tree.root / f"{truth}/{SPLICED[0]}_edgemask.jpg").read_bytes()

    outcome = prepared("columbia")
    assert [record.kind for record in outcome.forged.values()] == ["splice", "splice"]
    assert len(outcome.authentic) == 2
    assert outcome.lines("skipped") == []
    assert outcome.code == 3, "two of 180"
    written = outcome.records[f"4cam_splc/{SPLICED[0]}.tif"].mask_path
    assert written.resolve() == tmp_path / f"out/mini-masks/4cam_splc/{SPLICED[0]}.tif.png"
    assert np.unique(read_photo(written)).tolist() == [0, 255]
    assert (tree.root / f"{truth}/{SPLICED[0]}_edgemask.jpg").read_bytes() == before
    found = groups(columbia.find(tree.root))
    assert found["canong3_02_sub_01.tif"] == found["canong3_02_sub_02.tif"]
    assert found[f"{SPLICED[0]}.tif"] != found[f"{SPLICED[1]}.tif"]


def test_jpeg_copies_beside_the_tiffs_are_ignored(tree, prepared):
    tree.photos(*(f"4cam_splc/{name}.tif" for name in SPLICED), "4cam_auth/canong3_02_sub_01.tif")
    tree.photos(*(f"4cam_splc/0jpg/{name}.jpg" for name in SPLICED), "4cam_auth/0jpg/canong3_02_sub_01.jpg")
    for name in SPLICED:
        tree.masks(f"4cam_splc/edgemask/{name}_edgemask.jpg", marked=(0, 200, 0), rest=(200, 0, 0))
    outcome = prepared("columbia")
    assert {name.rpartition(".")[2] for name in outcome.records} == {"tif"}
    assert len(outcome.records) == 3
    assert [line[line.index("4cam") :] for line in outcome.lines("skipped")] == [
        "4cam_splc/0jpg: 2 copies of photos are ignored, because the TIFF files are used",
        "4cam_auth/0jpg: 1 copies of photos are ignored, because the TIFF files are used",
    ]


def test_jpeg_copies_alone_are_used(tree, prepared):
    tree.photos(f"4cam_splc/0jpg/{SPLICED[0]}.jpg")
    tree.masks(f"4cam_splc/edgemask/{SPLICED[0]}_edgemask.jpg", marked=(0, 200, 0), rest=(200, 0, 0))
    outcome = prepared("columbia")
    assert list(outcome.records) == [f"4cam_splc/0jpg/{SPLICED[0]}.jpg"]
    assert outcome.lines("skipped") == []
