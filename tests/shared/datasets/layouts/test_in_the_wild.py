def test_masks_are_named_after_their_images(tree, prepared):
    tree.photos("label_in_wild/images/2251.jpg", "label_in_wild/images/2508.jpg")
    tree.masks("label_in_wild/masks/2251.png", "label_in_wild/masks/2508.png")
    outcome = prepared("in_the_wild", allow_incomplete=True)
    assert outcome.code == 0
    assert len(outcome.forged) == 2
    assert "2 of 201 manipulated images, 0 of 0 authentic" in outcome.output[0]
    assert "the set is incomplete" in outcome.output[1]
