import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.datasets.folders import Unpaired, pair_by_name
from boxpromptiml.images import ImageError


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    folder.mkdir(exist_ok=True)
    return folder


def pairs(pairing, images, masks):
    return {
        image.relative_to(images).as_posix(): None if isinstance(mask, Unpaired) else mask.relative_to(masks).as_posix()
        for image, mask in pairing.images
    }


def test_masks_are_found_by_name_ending_and_subfolder(tmp_path):
    images = touched(tmp_path / "Tp", "b.jpg", "a.tif", "CM/b.jpg", "c.d.png")
    masks = touched(tmp_path / "Gt", "a_gt.png", "b.png", "CM/b_mask.png", "c.d.png")
    pairing = pair_by_name(images, masks)
    assert pairs(pairing, images, masks) == {
        "CM/b.jpg": "CM/b_mask.png",
        "a.tif": "a_gt.png",
        "b.jpg": "b.png",
        "c.d.png": "c.d.png",
    }
    assert pairing.stray_masks == []


@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30), min_size=1))
def test_a_missing_file_shifts_no_other_pair(tmp_path_factory, image_numbers, mask_numbers):
    folder = tmp_path_factory.mktemp("set")
    images = touched(folder / "images", *(f"{i}.jpg" for i in image_numbers))
    masks = touched(folder / "masks", *(f"{i}.png" for i in mask_numbers))
    pairing = pair_by_name(images, masks)
    assert pairs(pairing, images, masks) == {
        f"{i}.jpg": f"{i}.png" if i in mask_numbers else None for i in image_numbers
    }
    assert {stray.path.stem for stray in pairing.stray_masks} == {str(i) for i in mask_numbers - image_numbers}


def test_ambiguous_names_are_paired_with_nothing(tmp_path):
    images = touched(tmp_path / "images", "a.jpg", "a.png", "b.jpg")
    masks = touched(tmp_path / "masks", "a.png", "b.png", "b_gt.png")
    pairing = pair_by_name(images, masks)
    assert set(pairs(pairing, images, masks).values()) == {None}
    reasons = " ".join(problem.reason for _, problem in pairing.images)
    assert "shares its name with a.png" in reasons
    assert "more than one mask of that name (b.png, b_gt.png)" in reasons


def test_one_folder_may_hold_everything(tmp_path):
    images = touched(tmp_path, "a.jpg", "a_mask.png", "masks/b.png", "b.jpg", "authentic/c.jpg")
    nested = pair_by_name(images, images / "masks", leave_out=images / "authentic")
    assert pairs(nested, images, images / "masks") == {"a.jpg": None, "a_mask.png": None, "b.jpg": "b.png"}
    beside = pair_by_name(images, images, leave_out=images / "authentic")
    assert pairs(beside, images, images) == {"a.jpg": "a_mask.png", "b.jpg": None, "masks/b.png": None}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ImageError, match="masks: no such folder"):
        pair_by_name(touched(tmp_path / "images"), tmp_path / "masks")
