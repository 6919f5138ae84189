from pathlib import Path

import pytest
from drawn_sets import ODD
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.datasets.annotations.matching import ImageFinder

ROOT = Path("/data/set")
FOLDERS = st.lists(st.sampled_from(["images", "train", "x y", "ü"]), max_size=3)
PATHS = st.builds(lambda folders, stem: "/".join([*folders, f"{stem}.jpg"]), FOLDERS, st.sampled_from("abc"))


def found(paths, *wanted):
    finder = ImageFinder(ROOT, [ROOT / path for path in paths])
    matches = finder.find_all([(name,) if isinstance(name, str) else name for name in wanted])
    return [m.reason if m.reason else m.path.relative_to(ROOT).as_posix() for m in matches]


@given(st.lists(PATHS, unique=True, min_size=1))
def test_every_image_is_found_by_its_own_path_with_and_without_suffix(paths):
    assert found(paths, *paths) == paths
    assert found(paths, *(path.replace(".jpg", ".*") for path in paths)) == paths


def test_a_unique_file_name_is_enough():
    assert found(["x/a.jpg", "y/b.jpg"], "a.jpg", "elsewhere/b.jpg", "set\\y\\b.jpg")[0] == "x/a.jpg"
    assert found(["x/a.jpg", "y/b.jpg"], "elsewhere/b.jpg") == ["y/b.jpg"]
    assert found(["x/a.jpg", "y/a.jpg"], "deep\\below\\y\\a.jpg") == ["y/a.jpg"]


def test_an_ambiguous_name_matches_no_image():
    (reason,) = found(["x/a.jpg", "y/a.jpg"], "a.jpg")
    assert "x/a.jpg or /data/set/y/a.jpg" in reason
    assert found(["x/a.jpg", "y/a.jpg"], ("a.*", "y/a.jpg")) == ["y/a.jpg"]
    assert "no image with that name in /data/set" in found(["x/a.jpg"], "b.jpg")[0]


def test_no_two_entries_match_the_same_image():
    assert found(["x/a.jpg"], "x/a.jpg", "gone/a.jpg") == ["x/a.jpg", found(["b.jpg"], "a.jpg")[0]]
    twice = found(["x/a.jpg", "b.jpg"], "x/a.jpg", "b.jpg", "x/a.jpg")
    assert twice[1] == "b.jpg"
    assert twice[0] == twice[2] == "2 entries refer to this image; keep one"


def test_accents_match_in_any_unicode_normal_form():
    assert found(["u\u0308/a.jpg"], "\u00fc/a.jpg") == ["u\u0308/a.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        "..\\..\\media\\upload\\4\\cb0618f6-my a.jpg",
        "C:\\set\\my a.jpg",
        "C:my a.jpg",
        "\\\\server\\share\\my a.jpg",
        "/home/x/my a.jpg",
        "file:///home/x/my%20a.jpg",
        "https://host:8080/x/my%20a.jpg?X-Amz-Signature=5/6#top",
        "gs://bucket/my a.jpg",
        "/data/local-files/?d=set/my%20a.jpg",
        "./my a.jpg",
        "my a_jpg.rf.8f00.jpg",
        "my%20a.*",
    ],
)
def test_paths_from_other_machines_match_by_their_last_parts(name):
    assert found(["x/my a.jpg", "b.jpg"], name) == ["x/my a.jpg"]


def test_an_exact_name_takes_precedence_over_its_interpretations():
    assert found(ODD, *ODD) == ODD
    assert found(ODD, *reversed(ODD)) == ODD[::-1]
    assert found(ODD, *(f"elsewhere/{name}" for name in ODD)) == ODD


@given(st.text(min_size=1, max_size=30))
def test_no_name_breaks_the_search(name):
    assert len(found(["x/a.jpg"], name)) == 1
