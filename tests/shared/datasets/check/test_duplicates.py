import numpy as np
import pytest

from boxpromptiml import images
from boxpromptiml.datasets.check.duplicates import repeats, same_photos, twins


@pytest.fixture
def found(clean, limits):
    """Function that returns (code, image id, id of the repeated image) of every duplicate."""

    def look():
        groups = same_photos([clean.entry(record.image_id) for record in clean.records], limits)
        return sorted(
            (finding.code, finding.image_id, int(finding.other.split("/")[-1].split(".")[0]))
            for group in groups
            for finding in repeats(group)
        )

    return look


def forged(photo):
    copy = photo.copy()
    copy[20:48, 24:52] = photo[48:76, 60:88]
    return copy


def test_different_scenes_are_no_duplicates(found):
    assert found() == []


def test_of_a_leak_the_training_image_is_dropped(clean, scene, found):
    clean.add(images.jpeg_round_trip(scene(0), 80), "val")
    clean.add(images.jpeg_round_trip(scene(6), 80), "val")
    assert found() == [("leak", 1, 10), ("leak", 11, 7)]


def test_a_photo_in_all_three_splits_is_kept_in_the_test_set(clean, scene, found):
    clean.add(scene(0), "val")
    clean.add(scene(0), "test")
    assert found() == [("leak", 1, 10), ("leak", 10, 11)]


def test_an_authentic_twin_is_accepted_in_the_split_of_its_forgery_and_a_leak_elsewhere(clean, scene, found, limits):
    clean.add(forged(scene(2)), "train")
    clean.add(forged(scene(5)), "train")
    assert found() == [("leak", 11, 6)]
    groups = same_photos([clean.entry(record.image_id) for record in clean.records], limits)
    assert twins(groups) == {"train": 1}


def test_of_several_copies_the_first_is_kept(clean, scene, found):
    for _ in range(2):
        clean.add(scene(0), "train")
    clean.add(images.jpeg_round_trip(scene(0), 80), "train")
    assert found() == [("duplicate", 10, 1), ("duplicate", 11, 1), ("near_duplicate", 12, 1)]


def test_a_file_with_contradictory_labels_is_reported_in_both_places(clean, scene, found):
    clean.add(scene(0), "train", authentic=True)
    assert found() == [("contradiction", 1, 10), ("contradiction", 10, 1)]


def test_copies_of_flat_images_are_found_by_their_bytes(clean, found):
    for _ in range(2):
        clean.add(np.full((80, 96, 3), 255, np.uint8), "train")
    assert found() == [("duplicate", 11, 10)]


def test_the_text_gives_the_similarity(clean, scene, limits):
    clean.add(scene(0), "test")
    clean.add(np.ascontiguousarray(scene(1)[:, ::-1]), "test")
    entries = [clean.entry(image_id) for image_id in (1, 2, 10, 11)]
    texts = [finding.text for group in same_photos(entries, limits) for finding in repeats(group)]
    assert texts == [
        f"the same file as {clean.folder / '10.png'} of test",
        f"the same photo (0 of 64 bits differ, mirrored) as {clean.folder / '11.png'} of test",
    ]


def test_unreadable_images_are_left_out(clean, scene, found):
    clean.add(scene(0), "test")
    (clean.folder / "1.png").write_bytes(b"")
    assert found() == []
