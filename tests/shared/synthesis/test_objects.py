from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.core.records import InputError
from boxpromptiml.images import ImageError, write_photo
from boxpromptiml.synthesis.objects import SourceObjects, examine_objects, list_objects, read_object, split_objects


def test_object_photos_are_paired_with_their_instance_maps_by_name(object_folder):
    (object_folder / "instances" / "01.png").unlink()
    assert [(photo.name, map_.name) for photo, map_ in list_objects(object_folder)] == [
        ("00.png", "00.png"),
        ("02.png", "02.png"),
        ("03.png", "03.png"),
    ]


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(ImageError, match="instances: no such folder"):
        list_objects(tmp_path)
    for name in ("images", "instances"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="objects need both"):
        list_objects(tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_objects_of_a_useful_size_are_used(tmp_path, dtype):
    write_photo(tmp_path / "photo.png", np.zeros((100, 100, 3), np.uint8))
    instances = np.full((100, 100), 7, dtype)  # fills more than 60 % of the photo
    instances[:10, :] = 0
    instances[20:50, 20:60] = 200
    instances[60:64, 60:64] = 3  # too small
    Image.fromarray(instances).save(tmp_path / "map.png")
    assert examine_objects((tmp_path / "photo.png", tmp_path / "map.png")).numbers == (200,)


def test_a_map_of_another_size_or_with_colours_is_set_aside_by_name(tmp_path):
    write_photo(tmp_path / "photo.png", np.zeros((100, 100, 3), np.uint8))
    Image.new("L", (90, 100)).save(tmp_path / "small.png")
    Image.new("RGB", (100, 100)).save(tmp_path / "colours.png")
    assert "small.png: the map is 90×100, but its image is 100×100" in examine_objects(
        (tmp_path / "photo.png", tmp_path / "small.png")
    )
    assert "colours.png: an instance map has one channel" in examine_objects(
        (tmp_path / "photo.png", tmp_path / "colours.png")
    )


def test_an_object_is_read_with_its_mask(object_folder):
    source = examine_objects(list_objects(object_folder)[0])
    cutout = read_object(source, source.numbers[0])
    assert cutout.mask.sum() == 30 * 40
    assert (cutout.photo[cutout.mask] == (200, 0, 0)).all()


def test_objects_of_one_photo_stay_in_one_split_and_follow_a_known_photo():
    found = [SourceObjects(Path(f"{i}.jpg"), Path(f"{i}.png"), (1,), f"scene {i}") for i in range(40)]
    split = split_objects(found, {"scene 3": "test", "scene 4": "test"}, {"train": 30, "val": 0, "test": 10}, seed=0)
    assert [source.path for source in split] == [source.path for source in found]
    assert split[3].split == split[4].split == "test"
    splits = [source.split for source in split]
    assert (splits.count("train"), splits.count("val")) == (29, 0)
    assert split == split_objects(found, {"scene 3": "test", "scene 4": "test"}, {"train": 30, "test": 10}, seed=0)
