from boxpromptiml.datasets.layouts import imd2020


def test_originals_versions_and_masks_share_a_folder(tree, prepared, groups):
    tree.photos("IMD2020/1a07yi/1a07yi_orig.jpg", "IMD2020/1a07yi/c8swtoq_0.jpg", "IMD2020/1a07yi/c8t01_0.PNG")
    tree.masks("IMD2020/1a07yi/c8swtoq_0_mask.png", "IMD2020/1a07yi/c8t01_0_mask.png")
    tree.photos("IMD2020/z14/00030_orig.jpg", "IMD2020/z14/00030_fake.jpg", "IMD2020/z15/00031_fake.jpg")
    tree.wrong_size("IMD2020/z14/00030_fake_mask.png", width=24, height=20)
    tree.masks("IMD2020/z15/nobody_mask.png")
    outcome = prepared("imd2020")
    assert set(outcome.forged) == {"IMD2020/1a07yi/c8swtoq_0.jpg", "IMD2020/1a07yi/c8t01_0.PNG"}
    assert outcome.authentic == {"IMD2020/1a07yi/1a07yi_orig.jpg", "IMD2020/z14/00030_orig.jpg"}
    stray, mismatch, maskless = outcome.lines("skipped")
    assert "nobody_mask.png: a mask without an image" in stray
    assert "00030_fake_mask.png: the mask is 24×20, but its image is 24×16" in mismatch
    assert "00031_fake.jpg: no mask named z15/00031_fake_mask" in maskless
    assert "2 of 2,010 manipulated images, 2 of 414 authentic" in outcome.output[3]
    found = groups(imd2020.find(tree.root))
    assert found["c8swtoq_0.jpg"] == found["1a07yi_orig.jpg"] == "1a07yi"
