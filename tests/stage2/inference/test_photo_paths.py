"""Input photos given as files, folders, patterns and lists, and the names of their output files."""

import os

import pytest

from boxpromptiml.core.records import InputError
from stage2_distill.inference.photo_paths import photo_names, printable


@pytest.fixture
def photos(tmp_path):
    for name in ("a.png", "b.jpg", "b.PNG", "deep/c.tif", "deep/er/d.webp", "notes.md"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def names(*given):
    return sorted(photo_names(list(given))[0].values())


def test_a_folder_gives_all_photos_below_it_with_suffixes_where_stems_collide(photos):
    assert names(photos) == ["a", "b.PNG", "b.jpg", "deep/c", "deep/er/d"]


def test_a_pattern_gives_its_matches_named_relative_to_its_fixed_part(photos):
    assert names(photos / "*.png") == ["a"]
    assert names(photos / "**" / "*") == ["a", "b.PNG", "b.jpg", "deep/c", "deep/er/d"]
    assert names(photos / "d*" / "*.tif") == ["deep/c"]


def test_a_relative_pattern_works_too(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert names(photos.relative_to(photos) / "*.jpg") == ["b"]


def test_a_list_gives_its_lines_including_missing_files(photos):
    (photos / "list.txt").write_text(f"{photos / 'a.png'}\n\n  {photos / 'gone.png'}\n")
    assert names(photos / "list.txt") == ["a", "gone"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_is_read_in_any_text_encoding_and_line_ending(photos, encoding):
    (photos / "list.txt").write_bytes(f"{photos}/a.png\r\n{photos}/bü.jpg\r\n".encode(encoding))
    assert names(photos / "list.txt") == ["a", "bü"]


def test_ignored_files_are_named(photos):
    (photos / "e.heic").touch()
    assert photo_names([photos])[1] == [f"{photos}: ignored: 1 × .heic, 1 × .md"]
    assert photo_names([photos / "*"])[1] == [f"{photos / '*'}: ignored: 1 × .heic, 1 × .md"]
    assert photo_names([photos / "a.png"])[1] == []
    (photos / "f").mkdir()
    (photos / "f/only.heic").touch()
    with pytest.raises(InputError, match=r"no photo found .*1 × \.heic"):
        photo_names([photos / "f"])


def test_a_photo_given_twice_is_read_once(photos):
    assert names(photos, photos / "a.png", photos / "*.jpg") == ["a", "b.PNG", "b.jpg", "deep/c", "deep/er/d"]


def test_an_existing_file_with_pattern_characters_is_a_file(photos):
    (photos / "x[1].png").touch()
    assert names(photos / "x[1].png") == ["x[1]"]


def test_no_output_name_leaves_the_output_folder(photos):
    assert names(photos / "deep" / ".." / "a.png") == ["a"]
    assert names(photos / "d*" / ".." / "a.png") == ["a"]
    (photos / "list.txt").write_text(f"{photos}/deep/../a.png\n/etc/../{photos}/b.jpg")
    assert names(photos / "list.txt") == ["a", "b"]


@pytest.mark.parametrize("given", ["nothing-*.jpg", "empty.txt", "empty"])
def test_input_without_photos_is_refused(tmp_path, given):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    with pytest.raises(InputError, match="no photo found"):
        photo_names([tmp_path / given])


def test_two_photos_with_the_same_output_are_refused(photos):
    (photos / "deep/a.png").touch()
    with pytest.raises(InputError, match=r"both be written as a\.png"):
        photo_names([photos / "a.png", photos / "deep/a.png"])


def test_undecodable_file_names_can_be_written():
    assert printable(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    assert printable("café.png") == "café.png"


def test_our_own_results_do_not_match_a_pattern(photos):
    for name in ("found/predictions.jsonl", "found/masks/a.png", "found/overlays/deep/a.jpg", "masks/own.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    found, remarks = photo_names([photos / "**" / "*"])
    assert sorted(found.values()) == ["a", "b.PNG", "b.jpg", "deep/c", "deep/er/d", "masks/own"]
    assert "2 × result of boxpromptiml" in remarks[0]
    assert names(photos / "found/masks/*.png") == ["a"]  # named as photos
