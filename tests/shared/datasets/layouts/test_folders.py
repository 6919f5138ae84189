from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layout import Unpaired
from boxpromptiml.datasets.layouts.folders import find, listing


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pairs(found, images, masks):
    return {
        (entry.path if isinstance(entry, Unpaired) else entry.image).relative_to(images).as_posix(): (
            None if isinstance(entry, Unpaired) else entry.mask.relative_to(masks).as_posix()
        )
        for entry in found.images
        if isinstance(entry, Unpaired) or entry.mask
    }


def test_three_folders_form_a_set(tree, prepared):
    tree.photos("images/a.jpg", "images/sub/b.tif", "authentic/x.png")
    tree.masks("masks/a_gt.png", "masks/sub/b.png")
    outcome = prepared("folders")
    assert outcome.code == 0
    assert set(outcome.forged) == {"images/a.jpg", "images/sub/b.tif"}
    assert outcome.authentic == {"authentic/x.png"}
    assert len(find(tree.root).images) == 3


@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30), min_size=1))
def test_a_missing_file_shifts_no_other_pair(image_numbers, mask_numbers):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        images = touched(root / "images", *(f"{i}.jpg" for i in image_numbers))
        masks = touched(root / "masks", *(f"{i}.png" for i in mask_numbers))
        found = listing(images, masks, None, root)
    assert pairs(found, images, masks) == {f"{i}.jpg": f"{i}.png" if i in mask_numbers else None for i in image_numbers}
    assert {stray.path.stem for stray in found.strays} == {str(i) for i in mask_numbers - image_numbers}


def test_masks_are_found_by_name_ending_and_subfolder(tmp_path):
    images = touched(tmp_path / "Tp", "b.jpg", "a.tif", "CM/b.jpg", "c.d.png")
    masks = touched(tmp_path / "Gt", "a_gt.png", "b.png", "CM/b_mask.png", "c.d.png")
    expected = {"CM/b.jpg": "CM/b_mask.png", "a.tif": "a_gt.png", "b.jpg": "b.png", "c.d.png": "c.d.png"}
    assert pairs(listing(images, masks, None, tmp_path), images, masks) == expected


def test_one_folder_may_contain_everything(tmp_path):
    images = touched(tmp_path, "a.jpg", "a_mask.png", "masks/b.png", "b.jpg", "authentic/c.jpg")
    nested = listing(images, images / "masks", images / "authentic", images)
    assert pairs(nested, images, images / "masks") == {"a.jpg": None, "a_mask.png": None, "b.jpg": "b.png"}
    beside = listing(images, images, images / "authentic", images)
    assert pairs(beside, images, images) == {"a.jpg": "a_mask.png", "b.jpg": None, "masks/b.png": None}


def test_folders_may_lie_inside_each_other(tmp_path):
    photos = touched(tmp_path / "photos", "x.jpg", "forged/a.jpg", "forged/masks/a.png")
    forged = photos / "forged"
    found = listing(forged, forged / "masks", photos, photos)
    assert pairs(found, forged, forged / "masks") == {"a.jpg": "a.png"}
    assert [entry.image.name for entry in found.images if entry.mask is None] == ["x.jpg"]
    inside_masks = touched(tmp_path / "masks", "a.png", "images/a.jpg")
    found = listing(inside_masks / "images", inside_masks, None, inside_masks)
    assert pairs(found, inside_masks / "images", inside_masks) == {"a.jpg": "a.png"}
    assert found.strays == []


def test_authentic_images_need_a_folder_of_their_own(tmp_path):
    images, masks = touched(tmp_path / "images", "a.jpg"), touched(tmp_path / "masks", "a.png")
    for folder in (images, masks):
        with pytest.raises(InputError, match="give each a folder of its own"):
            listing(images, masks, folder, tmp_path)
