from pathlib import Path

import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import ListedImage, Unpaired
from boxpromptiml.datasets.pairing import find_folder, images_in, need_folder, pair
from boxpromptiml.images import ImageError


def paths(*names):
    return [Path(name) for name in names]


def test_every_image_gets_the_mask_of_its_name():
    paired, strays = pair(
        paths("i/1t.tif", "i/2t.tif", "i/3t.tif"),
        paths("m/3forged.tif", "m/1forged.tif", "m/4forged.tif"),
        mask_names=lambda image: [image.stem.replace("t", "forged")],
        group=lambda image: image.stem[0],
        kind=lambda image: "copy_move",
    )
    first, second, third = paired
    assert first == ListedImage(Path("i/1t.tif"), Path("m/1forged.tif"), "1", "copy_move")
    assert isinstance(second, Unpaired)
    assert second.reason == "i/2t.tif: no mask named 2forged; add it, or move the image away"
    assert third.mask == Path("m/3forged.tif")
    assert [stray.path for stray in strays] == paths("m/4forged.tif")


def test_ambiguous_names_are_not_paired():
    images, masks = paths("i/a.jpg", "i/a.png", "i/b.jpg"), paths("m/a.png", "m/b.png", "m/b_gt.png")
    paired, strays = pair(images, masks, mask_names=lambda image: [image.stem, f"{image.stem}_gt"])
    reasons = [entry.reason for entry in paired]
    assert reasons[0] == "i/a.jpg: another image has the same mask, a.png; rename or remove one of the two"
    assert reasons[1].startswith("i/a.png: another image")
    assert reasons[2] == "i/b.jpg: more than one mask with that name (b.png, b_gt.png); keep one"
    assert strays == []


def test_a_mask_may_serve_several_images_if_the_layout_allows_it():
    paired, _ = pair(paths("7_0.jpg", "7_1.jpg"), paths("7_mask.png"), lambda image: ["7_mask"], shared=True)
    assert [entry.mask for entry in paired] == paths("7_mask.png") * 2


def test_the_outermost_folder_is_found_whatever_its_case(tmp_path):
    for name in ("CASIA/Modified Tp/Tp/Sp", "CASIA/tp", "CASIA/__MACOSX/Gt", "CASIA/.hidden/Gt"):
        (tmp_path / name).mkdir(parents=True)
    assert find_folder(tmp_path, "Tp") == tmp_path / "CASIA/tp"
    assert find_folder(tmp_path, "Modified Tp", "Tp") == tmp_path / "CASIA/Modified Tp"
    assert find_folder(tmp_path, "Gt") is None
    with pytest.raises(InputError, match=r"no folder Gt or masks here \(found CASIA\)"):
        need_folder(tmp_path, "Gt", "masks")
    (tmp_path / "other/Tp").mkdir(parents=True)
    with pytest.raises(InputError, match=r"contains both .*CASIA/tp and .*other/Tp; pass the folder of one"):
        find_folder(tmp_path, "Tp")


def test_images_are_listed_without_extras(tmp_path):
    for name in ("a.JPG", "._a.JPG", "notes.txt", "masks/b.png", "__MACOSX/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert images_in(tmp_path, tmp_path / "masks") == [tmp_path / "a.JPG"]
    assert images_in(None) == []
    with pytest.raises(ImageError, match="no such folder"):
        images_in(tmp_path / "nowhere")


def test_accents_match_however_they_are_stored():
    composed, decomposed = Path("caf\u00e9.png"), Path("cafe\u0301.jpg")
    (found,), strays = pair([decomposed], [composed], mask_names=lambda image: [image.stem])
    assert isinstance(found, ListedImage)
    assert found.mask == composed
    assert strays == []
