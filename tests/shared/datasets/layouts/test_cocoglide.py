def test_three_naming_schemes_are_matched_by_coco_id(tree, prepared):
    tree.photos("fake/glide_inpainting_val2017_114871_up.png", "fake/glide_inpainting_val2017_9483_up.png")
    tree.photos("real/dining table_114871.png", "real/cat_9483.png")
    tree.masks("mask/dining table_114871_mask.png", "mask/cat_948_mask.png")
    (tree.root / "table.csv").write_text("real,fake,mask,prompt\n")
    outcome = prepared("cocoglide")
    assert {n: r.kind for n, r in outcome.forged.items()} == {
        "fake/glide_inpainting_val2017_114871_up.png": "inpainting"
    }
    assert len(outcome.authentic) == 2
    stray, maskless = outcome.lines("skipped")
    assert "cat_948_mask.png: a mask without an image" in stray
    assert "9483_up.png: no mask named 9483" in maskless
