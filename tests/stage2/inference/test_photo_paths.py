"""Files, folders, patterns and lists, and the names of their results."""

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


def test_a_folder_gives_all_below_it_and_a_suffix_where_the_stem_is_not_enough(photos):
    assert names(photos) == ["a", "b.PNG", "b.jpg", "deep/c", "deep/er/d"]


def test_a_pattern_gives_what_it_matches_below_its_plain_part(photos):
    assert names(photos / "*.png") == ["a"]
    assert names(photos / "**" / "*") == ["a", "b.PNG", "b.jpg", "deep/c", "deep/er/d"]
    assert names(photos / "d*" / "*.tif") == ["deep/c"]


def test_a_relative_pattern_works_too(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert names(photos.relative_to(photos) / "*.jpg") == ["b"]


def test_a_list_gives_its_lines_even_those_that_are_missing(photos):
    (photos / "list.txt").write_text(f"{photos / 'a.png'}\n\n  {photos / 'gone.png'}\n")
    assert names(photos / "list.txt") == ["a", "gone"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_is_read_as_editors_save_it(photos, encoding):
    (photos / "list.txt").write_bytes(f"{photos}/a.png\r\n{photos}/bü.jpg\r\n".encode(encoding))
    assert names(photos / "list.txt") == ["a", "bü"]


def test_what_is_not_looked_at_is_named(photos):
    (photos / "e.heic").touch()
    assert photo_names([photos])[1] == [f"{photos}: ignored: 1 × .heic, 1 × .md"]
    assert photo_names([photos / "*"])[1] == [f"{photos / '*'}: ignored: 1 × .heic, 1 × .md"]
    assert photo_names([photos / "a.png"])[1] == []
    (photos / "f").mkdir()
    (photos / "f/only.heic").touch()
    with pytest.raises(InputError, match=r"no photo found .*1 × \.heic"):
        photo_names([photos / "f"])


def test_what_is_named_twice_is_one_photo(photos):
    assert names(photos, photos / "a.png", photos / "*.jpg") == ["a", "b.PNG", "b.jpg", "deep/c", "deep/er/d"]


def test_a_file_with_the_letters_of_a_pattern_is_a_file(photos):
    (photos / "x[1].png").touch()
    assert names(photos / "x[1].png") == ["x[1]"]


def test_no_name_leads_out_of_the_output(photos):
    assert names(photos / "deep" / ".." / "a.png") == ["a"]
    assert names(photos / "d*" / ".." / "a.png") == ["a"]
    (photos / "list.txt").write_text(f"{photos}/deep/../a.png\n/etc/../{photos}/b.jpg")
    assert names(photos / "list.txt") == ["a", "b"]


@pytest.mark.parametrize("given", ["nothing-*.jpg", "empty.txt", "empty"])
def test_nothing_is_said_in_a_line(tmp_path, given):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    with pytest.raises(InputError, match="no photo found"):
        photo_names([tmp_path / given])


def test_two_photos_for_one_result_are_refused(photos):
    (photos / "deep/a.png").touch()
    with pytest.raises(InputError, match=r"both be written as a\.png"):
        photo_names([photos / "a.png", photos / "deep/a.png"])


def test_bytes_that_are_no_text_can_be_written_down():
    assert printable(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    assert printable("café.png") == "café.png"
