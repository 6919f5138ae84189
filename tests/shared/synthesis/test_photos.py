from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.core.records import InputError
from boxpromptiml.images import read_photo, write_photo
from boxpromptiml.synthesis.photos import ExaminedPhoto, examine, packaged_photos, split_photos


def test_packaged_photos_are_in_colour_and_no_scene_is_in_two_splits():
    photos = packaged_photos()
    for photo in photos:
        pixels = read_photo(photo.path).astype(int)
        assert np.ptp(pixels, axis=2).mean() > 3, f"{photo.path} is grey"
    assert len({photo.path for photo in photos}) == len(photos) == 12
    split_of_scene = {photo.scene: photo.split for photo in photos}
    assert all(split_of_scene[photo.scene] == photo.split for photo in photos)
    scenes = Counter(split_of_scene.values())
    assert scenes["train"] >= 5
    assert scenes["val"] >= 2
    assert scenes["test"] >= 3


@given(st.integers(6, 60), st.integers(0, 3), *[st.integers(1, 3000)] * 3, st.integers(0, 99))
def test_every_scene_goes_to_one_split_and_each_split_gets_enough(scenes, copies, train, val, test, seed):
    examined = [ExaminedPhoto(Path(f"{i}.jpg"), f"digest {i % scenes}", None) for i in range(scenes + copies)]
    chosen = split_photos(examined, {"train": train, "val": val, "test": test}, 2, seed)
    assert [photo.path for photo in chosen] == [photo.path for photo in examined]
    split_of_scene = {photo.scene: photo.split for photo in chosen}
    assert all(split_of_scene[photo.scene] == photo.split for photo in chosen)
    counts = Counter(split_of_scene.values())
    assert min(counts["train"], counts["val"], counts["test"]) >= 2


def test_photos_are_split_in_proportion_and_differently_for_each_seed():
    examined = [ExaminedPhoto(Path(f"{i}.jpg"), str(i), None) for i in range(300)]
    wanted = {"train": 800, "val": 100, "test": 100}
    first, second = (split_photos(examined, wanted, 2, seed) for seed in (0, 1))
    assert Counter(photo.split for photo in first) == pytest.approx({"train": 240, "val": 30, "test": 30}, abs=4)
    assert first == split_photos(examined, wanted, 2, 0)
    assert first != second


def test_splits_without_images_get_no_photo():
    examined = [ExaminedPhoto(Path(f"{i}.jpg"), str(i), None) for i in range(4)]
    assert {p.split for p in split_photos(examined, {"train": 5, "val": 0, "test": 0}, 2, 0)} == {"train"}


def test_the_count_of_too_few_photos_excludes_bad_and_duplicate_ones():
    examined = [
        ExaminedPhoto(Path("a"), "1", None),
        ExaminedPhoto(Path("b"), "1", None),
        ExaminedPhoto(Path("c"), "", "broken"),
    ]
    with pytest.raises(InputError, match="found 1 different usable photos, but train, test need at least 2 each"):
        split_photos(examined, {"train": 5, "val": 0, "test": 5}, 2, 0)


def test_good_bad_small_and_identical_photos_are_distinguished(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (70, 80, 3), np.uint8)
    for name, pixels in (("a.png", noise), ("b.png", noise), ("c.png", noise // 2), ("icon.png", noise[:30])):
        write_photo(tmp_path / name, pixels)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:5000])
    a, b, c, icon, cut = (examine(tmp_path / f"{name}.png") for name in ("a", "b", "c", "icon", "cut"))
    assert (a.defect, b.defect, c.defect) == (None, None, None)
    assert a.digest == b.digest != c.digest
    assert "80×30" in icon.defect
    assert "cut off" in cut.defect
