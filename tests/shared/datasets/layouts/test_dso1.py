def test_inverted_masks_are_inverted_and_macos_files_are_ignored(tree, prepared):
    top = "tifs-database"
    tree.photos(f"{top}/DSO-1/splicing-01.png", f"{top}/DSO-1/splicing-02.png", f"{top}/DSO-1/normal-01.png")
    masks = f"{top}/DSO-1-Fake-Images-Masks"
    tree.masks(f"{masks}/splicing-01.png", f"{masks}/splicing-02.png", marked=(0, 0, 0), rest=(255, 255, 255))
    for extra in (f"{top}/DSO-1/._splicing-01.png", "__MACOSX/DSO-1/splicing-01.png"):
        (tree.root / extra).parent.mkdir(parents=True, exist_ok=True)
        (tree.root / extra).write_bytes(b"Mac OS X")
    outcome = prepared("dso1")
    assert set(outcome.forged) == {f"{top}/DSO-1/splicing-01.png", f"{top}/DSO-1/splicing-02.png"}
    assert outcome.authentic == {f"{top}/DSO-1/normal-01.png"}
    assert "2 of 100 manipulated images, 1 of 100 authentic; 3 images listed, 0 files" in outcome.output[0]
    assert outcome.code == 3
    assert prepared("dso1", allow_incomplete=True).code == 0
