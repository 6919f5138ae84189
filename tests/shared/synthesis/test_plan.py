from dataclasses import replace
from pathlib import Path

import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.processes import processes
from boxpromptiml.synthesis.plan import PLAN_FILE, Settings, differences, listing, make_plan, read_plan, write_plan
from boxpromptiml.synthesis.recipe import Recipe, Traces


def settings(photos=None, objects=()):
    return Settings(
        counts={"train": 20, "val": 4, "test": 6},
        size=48,
        kinds=("splice", "removal"),
        authentic_share=0.1,
        looseness=0.15,
        recipe=Recipe(donor=Traces(noise=0.25)),
        format="png",
        seed=3,
        stream_train=False,
        photos=photos,
        objects=objects,
    )


def plan(wanted, photos=None, objects=()):
    with processes(1) as parallel_map:
        return make_plan(wanted, photos, objects, parallel_map)


def test_a_written_plan_is_read_back(photo_folder, object_folder, tmp_path):
    wanted = settings(listing(photo_folder), (listing(object_folder),))
    made = plan(wanted, photo_folder, [object_folder])
    write_plan(tmp_path, made)
    assert read_plan(tmp_path) == made
    assert len(made.photos) == 12
    assert len(made.objects) == 4
    assert {photo.split for photo in made.photos} == {"train", "val", "test"}
    assert made.photos_of("val") == [photo for photo in made.photos if photo.split == "val"]


def test_a_new_folder_has_no_plan_and_a_damaged_plan_is_named(tmp_path):
    assert read_plan(tmp_path) is None
    for content in ("{", '{"version": 3}', "[]"):
        (tmp_path / PLAN_FILE).write_text(content)
        with pytest.raises(InputError, match=f"{PLAN_FILE}: is damaged"):
            read_plan(tmp_path)


def test_differing_settings_are_named():
    made = plan(settings())
    assert differences(made, settings()) == []
    assert differences(made, replace(settings(), seed=4, recipe=Recipe())) == ["recipe", "seed"]


def test_another_file_in_the_folder_changes_the_listing_hash(photo_folder):
    before = listing(photo_folder)
    assert listing(photo_folder) == before
    (photo_folder / "00.png").rename(photo_folder / "99.png")
    assert listing(photo_folder) != before


def test_an_unreadable_instance_map_is_set_aside(photo_folder, object_folder):
    (object_folder / "instances" / "02.png").write_bytes(b"")
    made = plan(settings(), photo_folder, [object_folder])
    assert [Path(source.path).name for source in made.objects] == ["00.png", "01.png", "03.png"]
    assert "02.png: the file is empty" in made.set_aside[0]


def test_an_object_photo_that_is_also_a_photo_stays_in_its_split(photo_folder, object_folder):
    (photo_folder / "twin.png").write_bytes((object_folder / "images" / "01.png").read_bytes())
    made = plan(settings(), photo_folder, [object_folder])
    twin = next(photo for photo in made.photos if photo.path.name == "twin.png")
    assert next(source for source in made.objects if source.path.name == "01.png").split == twin.split
